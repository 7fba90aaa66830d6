"""Convert timestamps between the text of an envelope and nanoseconds since 1970, exactly.

In: RFC 3339 in UTC with `Z` and up to nine fractional digits. Out: an integer, and back. Errors: None for any other
text; parsec.ingest.timestamps accepts other time zones and notations.
"""

import re
from datetime import UTC, datetime
from functools import lru_cache

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
LATEST = (1 << 63) - 1
"""The last nanosecond that the store's type can represent, in April 2262."""

_SHAPE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_SCALES = tuple(int("1" + "0" * (9 - digits)) for digits in range(10))
_CACHE_ENTRIES = 4096
_seconds: dict[str, int] = {}


def nanoseconds(text: str) -> int | None:
    """Nanoseconds since 1970, negative before; None when `text` is not in the form of an envelope."""
    head = text[:19]
    second = _seconds.get(head)
    if second is None:
        second = _second(head)
        if second is None:
            return None
    if text[19:] == "Z":
        return second * SECOND
    digits = text[20:-1]
    if text[19:20] == "." and text[-1] == "Z" and len(digits) <= 9 and digits.isdigit() and digits.isascii():
        return second * SECOND + int(digits) * _SCALES[len(digits)]
    return None


def text_of(moment_ns: int) -> str:
    """The shortest exact text: without a fraction, or with one that has no trailing zeros."""
    second, fraction = divmod(moment_ns, SECOND)
    head = _head(second)
    return f"{head}.{fraction:09d}".rstrip("0") + "Z" if fraction else head + "Z"


@lru_cache(_CACHE_ENTRIES)
def _head(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


def _second(head: str) -> int | None:
    if not _SHAPE.fullmatch(head):
        return None
    try:
        second = int(datetime.fromisoformat(head).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None
    if len(_seconds) >= _CACHE_ENTRIES:
        _seconds.clear()
    _seconds[head] = second
    return second
