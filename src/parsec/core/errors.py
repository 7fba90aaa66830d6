"""The one error tree. Callers branch on these; adapters translate their driver's errors into them.

ParsecError
  Rejected    what came in breaks a rule; the sender must change it (code, field, message)
  Retryable   nothing is wrong with the data; the same call may succeed later
  Poison      these rows, and only these, can never be stored
  Fatal       this process cannot go on; it stops and says why
  BadSettings the settings are wrong; every fault is listed
"""


class ParsecError(Exception):
    """Base of everything Parsec raises on purpose."""


class Rejected(ParsecError):
    """Input that breaks a rule. `code` is stable and listed in docs/errors.md."""

    def __init__(self, code: str, message: str, *, field: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.status = status


class Retryable(ParsecError):
    """Try the same again; `after_s` is the shortest sensible wait."""

    def __init__(self, message: str, *, after_s: float = 1.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class Poison(ParsecError):
    """The store refuses a block because of what is in it (a parse or type error), so retrying cannot help."""


class Fatal(ParsecError):
    """The process must stop: what it stands on is gone (log closed, engine broken, lock lost)."""


class BadSettings(ParsecError):
    """Every bad setting at once; exit code 2."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
