"""All errors that Parsec raises. Callers branch on these classes; adapters translate the errors of their drivers.

ParsecError
  Rejected    the input breaks a rule, and the sender must change it (code, field, message)
  Retryable   the data is fine, and the same call may succeed later
  Poison      these rows can never be stored
  Fatal       this process cannot go on and stops with the reason
  BadSettings the settings have faults, all of which are listed
"""


class ParsecError(Exception):
    """The base class."""


class Rejected(ParsecError):
    """Input that breaks a rule. `code` is stable and listed in docs/errors.md."""

    def __init__(self, code: str, message: str, *, field: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.status = status


class Retryable(ParsecError):
    """Try again; `after_s` is the shortest sensible wait."""

    def __init__(self, message: str, *, after_s: float = 1.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class Poison(ParsecError):
    """The store refuses a block for its content (a parse or type error), so a retry cannot help."""


class Fatal(ParsecError):
    """The process must stop: something that it needs is gone (log closed, engine broken, lock lost)."""


class BadSettings(ParsecError):
    """All faults of the settings; exit code 2."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
