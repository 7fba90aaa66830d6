"""Read and write timestamps exactly, without going through a float.

In: an envelope's text (`nanoseconds`), or a sender's (`read_column`, `read_text`, `read_number`). Out: nanoseconds
since 1970, and back (`text_of`); or `YYYY-MM-DDTHH:MM:SS[.fraction]Z`, an envelope's text, with the digits that were
sent. Errors: None for a text that is not an envelope's; for a sender's Rejected(invalid_timestamp,
timestamp_in_future).

Accepted of senders are RFC 3339 with any offset (also +hhmm, lower-case t and z, a space for T), and numbers or strings
of digits since 1970: seconds below 1e11, milliseconds below 1e14, microseconds below 1e17, else nanoseconds. The leap
second 23:59:60 UTC becomes the last nanosecond of 23:59:59, because neither the store nor Python can represent it.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache

from parsec.core.errors import Rejected

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
LATEST = (1 << 63) - 1
"""The last nanosecond that the store's type can represent, in April 2262."""

_SHAPE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_FRACTION_UNITS = tuple(int("1" + "0" * (9 - digits)) for digits in range(10))
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_CACHE_ENTRIES = 4096
_seconds: dict[str, int] = {}  # any thread may clear them


def nanoseconds(text: str) -> int | None:
    """Nanoseconds since 1970, negative before; None when `text` is not in the form of an envelope."""
    head = text[:19]
    second = _seconds.get(head)
    if second is None:
        second = _second(head) if _SHAPE.fullmatch(head) else None
        if second is None:
            return None
    if text[19:] == "Z":
        return second * SECOND
    digits = text[20:-1]
    if text[19:20] == "." and text[-1] == "Z" and len(digits) <= 9 and digits.isdigit() and digits.isascii():
        return second * SECOND + int(digits) * _FRACTION_UNITS[len(digits)]
    return None


def text_of(moment_ns: int) -> str:
    """The shortest exact text: without a fraction, or with one that has no trailing zeros."""
    second, fraction = divmod(moment_ns, SECOND)
    head = second_text(second)
    return f"{head}.{fraction:09d}".rstrip("0") + "Z" if fraction else head + "Z"


def dashed(day: str) -> str:
    """The day 20260131 as 2026-01-31; any other text unchanged."""
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 and day.isdigit() else day


@lru_cache(_CACHE_ENTRIES)
def second_text(second: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS` in UTC."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


def _second(head: str) -> int | None:
    """Seconds since 1970 of `YYYY-MM-DDTHH:MM:SS` in UTC; None for a date or time that does not exist."""
    try:
        year, month, day = int(head[:4]), int(head[5:7]), int(head[8:10])
        at = datetime(year, month, day, int(head[11:13]), int(head[14:16]), int(head[17:]), tzinfo=UTC)
    except ValueError:
        return None
    second = (at.toordinal() - _EPOCH_DAY) * 86_400 + at.hour * 3600 + at.minute * 60 + at.second
    if len(_seconds) >= _CACHE_ENTRIES:
        _seconds.clear()
    _seconds[head] = second
    return second


# Times on a clock, with or without a zone.

Wall = tuple[int, int, int, int, int, int]
"""Year, month, day, hour, minute, second."""


def wall_second(wall: Wall, zone: tzinfo | None) -> int | None:
    """Seconds since 1970 of a time on a clock in `zone` (None: this machine's); None for one that does not exist.

    An hour that a clock shows twice counts as the first. A leap second becomes the second before it.
    """
    minute = _wall_minute(wall[:5], zone)
    return None if minute is None or wall[5] > 60 else minute + min(wall[5], 59)


@lru_cache(_CACHE_ENTRIES)
def _wall_minute(wall: tuple[int, ...], zone: tzinfo | None) -> int | None:
    year, month, day, hour, minute = wall
    try:
        return int(datetime(year, month, day, hour, minute, tzinfo=zone).timestamp())
    except (ValueError, OverflowError, OSError):
        return None


@lru_cache(_CACHE_ENTRIES)
def fixed_zone(minutes: int) -> tzinfo:
    """`minutes` east of UTC; UTC if that is a day or more, which no zone has."""
    return timezone(timedelta(minutes=minutes)) if abs(minutes) < 24 * 60 else UTC


def year_of(second: float) -> int:
    """In UTC."""
    return datetime.fromtimestamp(second, UTC).year


# Texts and numbers of senders.

_LONG_COLUMN = 8
"""For so many one pass over the column costs less than one call for each."""
_LONGEST = 64
_YEAR_10000 = 253_402_300_800
_TEXT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?"
    r"(?:([Zz])|([+-])([0-9]{2}):?([0-9]{2}))"
)
_STORED_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,9})?Z")
_NUMBER = re.compile(r"(-?)([0-9]+)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")
_SCALES = ((10**11, 0), (10**14, 3), (10**17, 6), (10**20, 9))
_TO_SHAPE = bytes.maketrans(b"123456789", b"000000000")
_SHAPES = frozenset(
    b"0000-00-00T00:00:00" + fraction + b"Z" for fraction in (b"", *(b"." + b"0" * n for n in range(1, 10)))
)


def read_column(stamps: Sequence[str | int], latest_s: int) -> Sequence[str | None]:
    """Each in its stored form; None where `read_text` or `read_number` would raise, or nothing was sent.

    In the common case all of a long column are in the stored form already, which one pass finds out.
    """
    if len(stamps) >= _LONG_COLUMN and _are_stored_forms(stamps, latest_s):
        return stamps  # type: ignore[return-value]
    return [_read(stamp, latest_s) for stamp in stamps]


def read_text(text: str, latest_s: int) -> str:
    """From a string. `latest_s` is the last whole second (since 1970) that is not too far ahead. Raises Rejected."""
    text = text.strip()
    found = _TEXT.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        if _NUMBER.fullmatch(text[:_LONGEST]):
            return read_number(text, latest_s)
        raise _unreadable(text, "is neither RFC 3339 with a zone (2026-01-31T12:00:00Z) nor a number since 1970")
    day, clock, fraction, zulu, sign, hours, minutes = found.groups(default="")
    if len(fraction) > 10:
        raise _unreadable(text, "has more than 9 digits of fraction")
    leap = clock[6:] == "60"
    head = f"{day}T{clock[:6]}59" if leap else f"{day}T{clock}"
    second = _seconds.get(head)
    if second is None:
        second = _second(head)
        if second is None:
            raise _unreadable(text, "names a date or time that does not exist; correct it")
    if not zulu:
        if hours > "23" or minutes > "59":
            raise _unreadable(text, "has an offset that does not exist; correct it")
        offset = int(hours) * 3600 + int(minutes) * 60
        second += -offset if sign == "+" else offset
    if leap:
        if second % 86_400 != 86_399:
            raise _unreadable(text, "has a second 60 at a time other than 23:59 UTC")
        fraction = ".999999999"
    return _stored(second, fraction, text, latest_s)


def read_number(text: str, latest_s: int) -> str:
    """From the text of a number, whose magnitude gives its unit. Raises Rejected."""
    found = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise _unreadable(text, "is not a number of seconds to nanoseconds since 1970")
    sign, whole, fraction, exponent = found.groups(default="")
    if sign:
        raise _unreadable(text, "is before 1970; send a later time")
    if exponent:
        value = Decimal(text)
        if value.adjusted() > 20 or value.adjusted() < -9:
            raise _unreadable(text, "is not a number of seconds to nanoseconds since 1970")
        whole, _, digits = f"{value:f}".partition(".")
        fraction = f".{digits}" if digits else ""
    number = int(whole)
    places = next((places for bound, places in _SCALES if number < bound), None)
    if places is None:
        raise _future(text)
    if places:
        second, below = divmod(number, 10**places)
        fraction = f".{below:0{places}}{fraction[1:]}"
    else:
        second = number
    return _stored(second, fraction[:10], text, latest_s)


def _read(stamp: str | int, latest_s: int) -> str | None:
    try:
        if isinstance(stamp, int):
            second, below = divmod(stamp, 1000)
            if 10**11 <= stamp < 10**14 and second < latest_s:
                return f"{second_text(second)}.{below:03d}Z"
            return read_number(str(stamp), latest_s)
        if _STORED_FORM.fullmatch(stamp):
            prefix = stamp[:19]
            known = _seconds.get(prefix)
            at = _second(prefix) if known is None else known
            if at is not None and 0 <= at < latest_s:
                return stamp
        return read_text(stamp, latest_s) if stamp else None
    except Rejected:
        return None


def _are_stored_forms(stamps: Sequence[str | int], latest_s: int) -> bool:
    try:
        joined = "\n".join(stamps)  # type: ignore[arg-type]
    except TypeError:
        return False  # a number among them
    if not joined.isascii():
        return False
    shapes = joined.encode().translate(_TO_SHAPE).split(b"\n")
    if len(shapes) != len(stamps) or not _SHAPES.issuperset(shapes):
        return False
    for prefix in {stamp[:19] for stamp in stamps}:  # type: ignore[index]
        second = _seconds.get(prefix)
        if second is None:
            second = _second(prefix)
        if second is None or not 0 <= second < latest_s:
            return False
    return True


def _stored(second: int, fraction: str, text: str, latest_s: int) -> str:
    if second < 0:
        raise _unreadable(text, "is before 1970; send a later time")
    if second >= _YEAR_10000 or second > latest_s or (second == latest_s and fraction.strip(".0")):
        raise _future(text)
    return f"{second_text(second)}{fraction}Z"


def _unreadable(text: str, why: str) -> Rejected:
    return Rejected("invalid_timestamp", f"timestamp {text[:_LONGEST]!r} {why}.", field="timestamp")


def _future(text: str) -> Rejected:
    why = "is more than 24 hours ahead of this server's clock; correct the sender's clock, or the unit of the number"
    message = f"timestamp {text[:_LONGEST]!r} {why}."
    return Rejected("timestamp_in_future", message, field="timestamp")
