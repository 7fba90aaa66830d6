"""Parse the time range of a query.

In: the texts of `from` and `to`, or None, and a clock. Out: a TimeRange, the last hour by default. Errors:
Rejected(invalid_parameter) naming the parameter. Next: parsec.query.sql.page.

Accepted are RFC 3339 with any offset, a date alone (midnight UTC), numbers since 1970 in seconds below 1e11,
milliseconds below 1e14, microseconds below 1e17, else nanoseconds, `now`, and `-2h` or `now-2h` with the units ns us
ms s m h d w.
"""

import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec

from parsec.core.clock import Clock
from parsec.core.errors import Rejected
from parsec.core.timestamp import DAY, LATEST, SECOND

DEFAULT_NS = 3600 * SECOND

_UNITS = {
    "ns": 1, "us": 1_000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": DAY, "w": 7 * DAY,
}  # fmt: skip
_RELATIVE = re.compile(r"(?:now)?(?:([+-])([0-9]{1,18})(ns|us|ms|s|m|h|d|w))?")
_NUMBER = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,9}))?")
_YEAR = re.compile(r"(?:19|20|21)[0-9]{2}")
_MAGNITUDES = ((10**11, 9), (10**14, 6), (10**17, 3), (10**19, 0))
# A plus sign arrives as a space when the sender forgot to escape it in the address.
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+ -])([0-9]{2}):?([0-9]{2})))?"
)


class TimeRange(msgspec.Struct, frozen=True):
    """Nanoseconds since 1970 that the store can hold: `start_ns` inclusive, `end_ns` exclusive."""

    start_ns: int
    end_ns: int


EVER = TimeRange(0, LATEST)


def timerange(start: str | None, end: str | None, clock: Clock) -> TimeRange:
    """Without `end` up to now, without `start` from an hour before the end."""
    now = clock.time_ns()
    end_ns = now if end is None else _parse(end, "to", now)
    start_ns = end_ns - DEFAULT_NS if start is None else _parse(start, "from", now)
    if start_ns > end_ns:
        beyond = "in the future; give `to`, too: without it the range ends now."
        why = beyond if end is None else "later than `to`; swap them."
        raise Rejected("invalid_parameter", f"`from` is {why}", field="from")
    return TimeRange(_clamp(start_ns), _clamp(end_ns))


def parse_timestamp(text: str) -> int | None:
    """Nanoseconds since 1970 of an absolute time, cut to what the store can hold; None for other texts."""
    try:
        at = _absolute(text.strip())
    except ValueError:
        return None
    return None if at is None else _clamp(at)


def _parse(text: str, field: str, now: int) -> int:
    text = text.strip()
    relative = _RELATIVE.fullmatch(text) if text else None
    if relative:
        sign, count, unit = relative.groups()
        return now + (0 if sign is None else int(sign + count) * _UNITS[unit])
    if _YEAR.fullmatch(text):
        message = f"`{field}` is a year alone, which could mean seconds since 1970; write {text}-01-01."
        raise Rejected("invalid_parameter", message, field=field)
    try:
        at = _absolute(text)
    except ValueError as error:
        message = f"`{field}` is not a time that exists: {error}."
        raise Rejected("invalid_parameter", message, field=field) from error
    if at is None:
        message = (
            f"`{field}` is not a time; write RFC 3339 (2026-01-31T12:00:00Z), a number since 1970, now, or -2h for"
            " two hours ago."
        )
        raise Rejected("invalid_parameter", message, field=field)
    return at


def _absolute(text: str) -> int | None:
    """None for other notations; ValueError for a time that does not exist."""
    number = _NUMBER.fullmatch(text)
    if number:
        whole = int(number[1])
        digits = next(digits for bound, digits in _MAGNITUDES if whole < bound)
        return int(number[1] + ((number[2] or "") + "0" * 9)[:digits])
    found = _RFC3339.fullmatch(text)
    if found is None:
        return None
    day, time, fraction, sign, hours, minutes = found.groups()
    zone = UTC
    try:
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            zone = timezone(-offset if sign == "-" else offset)
        at = datetime.fromisoformat(f"{day}T{time or '00:00:00'}").replace(tzinfo=zone)
        since = at - datetime(1970, 1, 1, tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error
    return (since.days * 86_400 + since.seconds) * SECOND + int((fraction or "0").ljust(9, "0"))


def _clamp(time_ns: int) -> int:
    return max(0, min(time_ns, LATEST))
