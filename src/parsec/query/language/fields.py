"""Check the field names and the values of an expression.

In: a name, and the text after its colon. Out: a Field, a Test. Errors: ValueError with what to write instead; the
caller adds the column or the parameter. Next: parsec.query.language.ast.
"""

import math
import re
from difflib import get_close_matches
from typing import Any

import re2

from parsec.core.errors import Rejected
from parsec.core.severity import SEVERITIES, SEVERITY_ALIASES, severity_name
from parsec.query.language import ast, tokenizer
from parsec.query.timerange import parse_timestamp

_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False  # RE2 would write them to stderr
_RE2_OPTIONS.dot_nl = True  # like the engine's match()

METADATA = "metadata."
MAX_PATH_CHARS = 512
MAX_PHRASE_WORDS = 100
MAX_REGEX_CHARS = 500
NUMBER_SPELLING = r"^-?(0|[1-9][0-9]{0,39})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?$"
"""A text that counts as a number, written as in JSON, so 007 does not; in the syntax that `re` and RE2 share."""

_NUMBER = re.compile(NUMBER_SPELLING[:-1] + r"\Z")
_MISPLACED = re.compile(r"(?P<name>[\w.@-]+)\s*(?P<sign>[<>!]=|=~|==?|[<>])\s*(?P<value>\"[^\"]*\"?|[^\s()]*)")
_INTEGERS = range(-(1 << 63), 1 << 64)
_OPERATORS = {"&&": "AND", "&": "AND", "||": "OR", "|": "OR", "!": "NOT", "-": "NOT"}
_LOWERCASE = ("source", "severity")
_UNESCAPED = (
    "missing )", "unexpected )", "missing ]", "no argument for repetition operator", "bad repetition operator",
)  # fmt: skip
"""What RE2 says when a character without its backslash may be the cause."""
_OTHER_NAMES = {
    "level": "severity", "lvl": "severity", "log.level": "severity", "loglevel": "severity",
    "service": "source", "app": "source", "logger": "source", "service.name": "source",
    "msg": "message", "text": "message", "body": "message", "log": "message",
    "time": "timestamp", "ts": "timestamp", "@timestamp": "timestamp", "date": "timestamp",
    "received": "received_at", "host": "node", "hostname": "node", "_id": "id",
}  # fmt: skip


def parse_field(name: str, hint: str = "") -> ast.Field:
    """One of FIXED, or a path below `metadata.`, taken literally. `hint` ends the error about an unknown field."""
    if name in ast.FIXED:
        return ast.Field(name)
    if name.startswith(METADATA):
        return metadata_field(name.removeprefix(METADATA))
    raise ValueError(_unknown_field(name, hint))


def misplaced_operator(text: str) -> str | None:
    """What to write instead of `severity=error` or `metadata.n>=42`; None for other texts, as user_id=42."""
    found = _MISPLACED.match(text)
    if found is None or not (found["name"] in ast.FIXED or found["name"].startswith(METADATA)):
        return None
    name, sign, value = found["name"], found["sign"].rstrip("~"), found["value"] or "..."
    written = f"{'NOT ' * (sign[0] == '!')}{name}:{sign if sign[0] in '<>' else ''}{value}"
    shown = found[0][:60].replace("\\", "\\\\").replace('"', '\\"')
    return f'did you mean `{written[:80]}`? To search the message for this text, quote it: "{shown}".'


def field_parameter(name: str, parameter: str) -> ast.Field:
    """The field that a parameter names. Raises Rejected(invalid_parameter) with the name of the parameter."""
    try:
        return parse_field(name)
    except ValueError as error:
        raise Rejected("invalid_parameter", f"`{parameter}`: {error}", field=parameter) from error


def metadata_field(path: str) -> ast.Field:
    """Any path without a backtick, which the engine gives a meaning of its own."""
    if len(path) > MAX_PATH_CHARS:
        raise ValueError(f"a metadata path has at most {MAX_PATH_CHARS} characters.")
    if "`" in path:
        raise ValueError("a metadata path with a backtick cannot be searched; search another field.")
    return ast.Field("metadata", path)


def text_test(field: ast.Field, parts: tuple[str, ...]) -> ast.Test:
    """A text, split at its wildcards: one part means no wildcard."""
    if len(parts) > 1 and not any(parts):
        return ast.Exists()
    if field.name == "message":
        return _phrase(parts)
    if field.name in _LOWERCASE:
        parts = tuple(part.lower() for part in parts)
    if field.name in ast.TIMES:
        if len(parts) > 1:
            raise ValueError(f"{field} takes no wildcard; compare it: {field}:>2026-01-31T12:00:00Z.")
        at = _timestamp(parts[0], field)
        return ast.Between(at, at)
    if field.name == "severity":
        if len(parts) == 1:
            return ast.OneOf((_severity(parts[0]),))
        return ast.OneOf(tuple(name for name in SEVERITIES if tokenizer.matches_wildcards(parts, name)))
    return ast.Equal(parts[0]) if len(parts) == 1 else ast.Like(parts)


def regex_test(field: ast.Field, pattern: str) -> ast.Test:
    """The store runs the pattern with RE2, too."""
    if field.name in ast.TIMES:
        raise ValueError(f"{field} takes no regular expression; compare it: {field}:>2026-01-31T12:00:00Z.")
    compiled = _compile_regex(pattern)
    if field.name == "severity":
        return ast.OneOf(tuple(name for name in SEVERITIES if compiled.search(name)))
    return ast.Matches(pattern)


def range_test(field: ast.Field, low: str | None, high: str | None, *, with_low: bool, with_high: bool) -> ast.Test:
    """Limits as written; None is open. Two limits are compared as numbers only if both are numbers."""
    if field.name == "message":
        raise ValueError("message cannot be compared; search its words, or compare a field of the metadata.")
    if field.name == "severity":
        return _severities(low, high, with_low=with_low, with_high=with_high)
    if field.name in _LOWERCASE:
        low, high = low and low.lower(), high and high.lower()
    given = [limit for limit in (low, high) if limit is not None]
    kind: dict[str, ast.Limit] = {limit: limit for limit in given}
    if field.name in ast.TIMES:
        kind = {limit: _timestamp(limit, field) for limit in given}
    elif field.name == "metadata":
        numbers = {limit: value for limit in given if (value := number(limit)) is not None}
        kind = dict(numbers) if len(numbers) == len(kind) else kind
    return ast.Between(
        None if low is None else kind[low], None if high is None else kind[high], with_low=with_low, with_high=with_high
    )


def number(text: str) -> int | float | None:
    """The exact number for integers that the store can hold, else the nearest double; None for other texts."""
    if not _NUMBER.match(text):
        return None
    if text.lstrip("-").isdigit() and int(text) in _INTEGERS:
        return int(text)
    found = float(text)
    return found if math.isfinite(found) else None


def _phrase(parts: tuple[str, ...]) -> ast.Phrase:
    words = tokenizer.phrase(parts)
    if not words:
        operator = _OPERATORS.get(parts[0])
        hint = f"did you mean {operator}?" if operator else "find other characters with a regular expression, as /->/."
        raise ValueError(f"there is no letter and no digit to search for; {hint}")
    if len(words) > MAX_PHRASE_WORDS:
        raise ValueError(f"a phrase has at most {MAX_PHRASE_WORDS} words.")
    return ast.Phrase(words)


def _compile_regex(pattern: str) -> Any:
    if len(pattern) > MAX_REGEX_CHARS:
        raise ValueError(f"a regular expression has at most {MAX_REGEX_CHARS} characters.")
    if "\0" in pattern:
        raise ValueError("a regular expression cannot contain NUL; write \\x00.")
    try:
        return re2.compile(pattern, _RE2_OPTIONS)
    except re2.error as error:
        # RE2 names what is wrong and the fragment, but no column.
        what, _, fragment = error.args[0].decode(errors="replace").partition(": ")
        near = f" near '{fragment}'" if fragment else ""
        hint = "; put a backslash before a character that means itself" if what in _UNESCAPED else ""
        raise ValueError(f"this regular expression is not valid: {what}{near}{hint}.") from error


def _severities(low: str | None, high: str | None, *, with_low: bool, with_high: bool) -> ast.OneOf:
    first = 0 if low is None else SEVERITIES.index(_severity(low)) + (not with_low)
    last = len(SEVERITIES) - 1 if high is None else SEVERITIES.index(_severity(high)) - (not with_high)
    return ast.OneOf(SEVERITIES[first : max(first, last + 1)])


def _severity(text: str) -> str:
    name = severity_name(text)
    if name is None:
        close = get_close_matches(text.lower(), SEVERITIES, 1) or get_close_matches(text.lower(), SEVERITY_ALIASES, 1)
        hint = f"did you mean {SEVERITY_ALIASES[close[0]]}?" if close else f"write one of {', '.join(SEVERITIES)}."
        raise ValueError(f"severity {text[:64]!r} is unknown; {hint}")
    return name


def _timestamp(text: str, field: ast.Field) -> int:
    found = parse_timestamp(text)
    if found is None:
        raise ValueError(
            f"{text[:64]!r} is not a time; write RFC 3339 ({field}:>2026-01-31T12:00:00Z) or a number since 1970. "
            "Use the parameters `from` and `to` for times relative to now."
        )
    return found


def _unknown_field(name: str, hint: str) -> str:
    shown = name[:64]
    if name in ("tenant", "tenant_id"):
        return "the tenant comes from the API key or the parameter `tenant`; remove this field."
    if name == "metadata":
        return "name a field of the metadata: metadata.key:value."
    other = _OTHER_NAMES.get(name.lower())
    close = [other] if other else get_close_matches(name.lower(), (*ast.FIXED, "metadata"), 1, 0.7)
    if close:
        return f"unknown field {shown!r}; did you mean {close[0]} or metadata.{shown}?"
    known = f"the fields are {', '.join(ast.FIXED)} and metadata.*"
    if not name:
        return f"the name of the field is empty; {known}."
    return f"unknown field {shown!r}; {known}. Did you mean metadata.{shown}?{hint}"
