"""Names of fields, as questions write them, and values as each field takes them.

In: a name, and what stands after its colon. Out: a Field, a Test. Errors: ValueError with what to write instead; the
callers know where in the question, or in which parameter, the name stood. Next: parsec.query.language.ast.
"""

import math
import re
from difflib import get_close_matches
from typing import Any

import re2

from parsec.api.event_rules import SEVERITIES, SEVERITY_ALIASES
from parsec.core.errors import Rejected
from parsec.query.language import tokenizer
from parsec.query.language.ast import (
    FIXED,
    TIMES,
    Between,
    Equal,
    Exists,
    Field,
    Like,
    Limit,
    Matches,
    OneOf,
    Phrase,
    Test,
)
from parsec.query.timerange import moment

_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False  # to stderr
_RE2_OPTIONS.dot_nl = True  # as the store's match()

METADATA = "metadata."
MAX_PATH_CHARS = 512
MAX_PHRASE_WORDS = 100
MAX_REGEX_CHARS = 500
NUMBER_SPELLING = r"^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?$"
"""A text that counts as a number, in the syntax that Python's `re` and RE2 share."""

_NUMBER = re.compile(NUMBER_SPELLING[:-1] + r"\Z")
_INTEGERS = range(-(1 << 63), 1 << 64)
_MEANT_SIGNS = {"&&": "AND", "&": "AND", "||": "OR", "|": "OR", "!": "NOT", "-": "NOT"}
_LOWER = ("source", "severity")
_MEANT = {
    "level": "severity", "lvl": "severity", "log.level": "severity", "loglevel": "severity",
    "service": "source", "app": "source", "logger": "source", "service.name": "source",
    "msg": "message", "text": "message", "body": "message", "log": "message",
    "time": "timestamp", "ts": "timestamp", "@timestamp": "timestamp", "date": "timestamp",
    "received": "received_at", "host": "node", "hostname": "node", "_id": "id",
}  # fmt: skip


def field(name: str) -> Field:
    """One of FIXED, or a path below `metadata.`, taken literally."""
    if name in FIXED:
        return Field(name)
    if name.startswith(METADATA):
        return metadata(name.removeprefix(METADATA))
    raise ValueError(_unknown(name))


def named(name: str, parameter: str) -> Field:
    """A field by its name in a parameter. Raises Rejected(invalid_parameter) that says which parameter."""
    try:
        return field(name)
    except ValueError as error:
        raise Rejected("invalid_parameter", f"{parameter}: {error}", field=parameter) from error


def metadata(path: str) -> Field:
    """A value of the metadata. Any path but one with a backtick, by which the engine means something else."""
    if len(path) > MAX_PATH_CHARS:
        raise ValueError(f"a path has at most {MAX_PATH_CHARS} characters.")
    if "`" in path:
        raise ValueError("a path with a backtick cannot be searched.")
    return Field("metadata", path)


def text_test(field: Field, parts: tuple[str, ...]) -> Test:
    """A value without (one part) or with wildcards."""
    if len(parts) > 1 and not any(parts):
        return Exists()
    if field.name in _LOWER:
        parts = tuple(part.lower() for part in parts)
    if field.name == "message":
        return message_test(parts)
    if field.name in TIMES:
        if len(parts) > 1:
            raise ValueError(f"{field} takes no wildcard; compare it: {field}:>2026-01-31T12:00:00Z.")
        at = _moment(parts[0], field)
        return Between(at, at)
    if field.name == "severity":
        if len(parts) == 1:
            return OneOf((_severity(parts[0]),))
        return OneOf(tuple(name for name in SEVERITIES if tokenizer.like(parts, name)))
    return Equal(parts[0]) if len(parts) == 1 else Like(parts)


def message_test(parts: tuple[str, ...]) -> Test:
    """Words of the message: those that the tokenizer makes of the text follow each other."""
    if len(parts) > 1 and not any(parts):
        return Exists()
    found = tokenizer.phrase(parts)
    if not found:
        meant = _MEANT_SIGNS.get(parts[0])
        hint = f"did you mean {meant}?" if meant else "find other characters with a regular expression, as /->/."
        raise ValueError(f"there is no letter and no digit to search for; {hint}")
    if len(found) > MAX_PHRASE_WORDS:
        raise ValueError(f"a phrase has at most {MAX_PHRASE_WORDS} words.")
    return Phrase(tuple(tuple(map(tokenizer.lower, word)) for word in found))


def regex_test(field: Field, pattern: str) -> Test:
    """A regular expression of RE2, which is also what the store runs."""
    if field.name in TIMES:
        raise ValueError(f"{field} takes no regular expression; compare it: {field}:>2026-01-31T12:00:00Z.")
    compiled = _compile(pattern)
    if field.name == "severity":
        return OneOf(tuple(name for name in SEVERITIES if compiled.search(name)))
    return Matches(pattern)


def range_test(field: Field, low: str | None, high: str | None, *, with_low: bool, with_high: bool) -> Test:
    """Limits as written; None is open. Two limits compare as numbers only when both are some."""
    if field.name == "message":
        raise ValueError("message has no order; search its words, or compare a field of metadata.")
    if field.name == "severity":
        return _severities(low, high, with_low=with_low, with_high=with_high)
    if field.name in _LOWER:
        low, high = low and low.lower(), high and high.lower()
    given = [limit for limit in (low, high) if limit is not None]
    kind: dict[str, Limit] = {limit: limit for limit in given}
    if field.name in TIMES:
        kind = {limit: _moment(limit, field) for limit in given}
    elif field.name == "metadata":
        numbers = {limit: value for limit in given if (value := number(limit)) is not None}
        kind = dict(numbers) if len(numbers) == len(kind) else kind
    return Between(
        None if low is None else kind[low], None if high is None else kind[high], with_low=with_low, with_high=with_high
    )


def number(text: str) -> int | float | None:
    """Exactly, for integers that the store can hold; else the nearest double. None: no number, or beyond a double."""
    if not _NUMBER.match(text):
        return None
    if text.lstrip("-").isdigit() and int(text) in _INTEGERS:
        return int(text)
    found = float(text)
    return found if math.isfinite(found) else None


def _compile(pattern: str) -> Any:
    if len(pattern) > MAX_REGEX_CHARS:
        raise ValueError(f"a regular expression has at most {MAX_REGEX_CHARS} characters.")
    if "\0" in pattern:
        raise ValueError("a regular expression holds no NUL; write \\x00.")
    try:
        return re2.compile(pattern, _RE2_OPTIONS)
    except re2.error as error:
        # RE2 names what is wrong and the fragment, but no column.
        what, _, fragment = error.args[0].decode(errors="replace").partition(": ")
        near = f" near '{fragment}'" if fragment else ""
        raise ValueError(
            f"this regular expression is not valid: {what}{near}; put a backslash before a character that means itself."
        ) from error


def _severities(low: str | None, high: str | None, *, with_low: bool, with_high: bool) -> OneOf:
    first = 0 if low is None else SEVERITIES.index(_severity(low)) + (not with_low)
    last = len(SEVERITIES) - 1 if high is None else SEVERITIES.index(_severity(high)) - (not with_high)
    return OneOf(SEVERITIES[first : max(first, last + 1)])


def _severity(text: str) -> str:
    name = SEVERITY_ALIASES.get(text.strip().lower())
    if name is None:
        close = get_close_matches(text.lower(), SEVERITIES, 1) or get_close_matches(text.lower(), SEVERITY_ALIASES, 1)
        hint = f"did you mean {SEVERITY_ALIASES[close[0]]}?" if close else f"there are {', '.join(SEVERITIES)}."
        raise ValueError(f"severity {text[:64]!r} is unknown; {hint}")
    return name


def _moment(text: str, field: Field) -> int:
    found = moment(text)
    if found is None:
        raise ValueError(
            f"{text[:64]!r} is no time; write RFC 3339 ({field}:>2026-01-31T12:00:00Z) or a number since 1970. "
            "Times relative to now belong into from and to."
        )
    return found


def _unknown(name: str) -> str:
    shown = name[:64]
    if name in ("tenant", "tenant_id"):
        return "the tenant comes from the key or the parameter; leave it out."
    if name == "metadata":
        return "name a value of it: metadata.key:value."
    meant = _MEANT.get(name.lower())
    close = [meant] if meant else get_close_matches(name.lower(), (*FIXED, "metadata"), 1, 0.7)
    other = "" if not name else f" or metadata.{shown}"
    hint = f"did you mean {close[0]}{other}?" if close else f"there are {', '.join(FIXED)} and metadata.*"
    if not close and name:
        hint += f"; did you mean metadata.{shown}? Quote a text that has a colon."
    return f"there is no field {shown!r}; {hint}"
