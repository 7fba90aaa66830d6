"""Timestamps in the forms that programs send, to RFC 3339 in UTC, without going through a float.

In: a text, or the text of a JSON number. Out: `YYYY-MM-DDTHH:MM:SS[.fraction]Z` with the digits that were sent.
Errors: Rejected(invalid_timestamp, timestamp_in_future). Next: parsec.ingest.normalize.

Accepted are RFC 3339 with any offset (also +hhmm, lower-case t and z, a space for T), and numbers or strings of digits
since 1970: seconds below 1e11, milliseconds below 1e14, microseconds below 1e17, else nanoseconds. The leap second
23:59:60 UTC becomes the last nanosecond of 23:59:59, because neither the store nor Python can represent it.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from parsec.core.errors import Rejected

_LONG_COLUMN = 8
"""For so many one pass over the column costs less than one call for each."""
_CACHE_ENTRIES = 4096
_LONGEST = 64
_EPOCH_DAY = date(1970, 1, 1).toordinal()
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
_seconds: dict[str, int] = {}
_texts: dict[int, str] = {}


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
    second = _second_of(f"{day}T{clock[:6]}59" if leap else f"{day}T{clock}", text)
    if not zulu:
        if hours > "23" or minutes > "59":
            raise _unreadable(text, "has an offset that does not exist")
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
        raise _unreadable(text, "is before 1970")
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
            prefix = _texts.get(second) if 10**11 <= stamp < 10**14 and second < latest_s else None
            return f"{prefix}.{below:03d}Z" if prefix else read_number(str(stamp), latest_s)
        if _STORED_FORM.fullmatch(stamp):
            prefix = stamp[:19]
            second = _seconds[prefix] if prefix in _seconds else _second_of(prefix, stamp)
            if 0 <= second < latest_s:
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
            try:
                second = _second_of(prefix, prefix)
            except Rejected:
                return False
        if not 0 <= second < latest_s:
            return False
    return True


def _second_of(prefix: str, text: str) -> int:
    """Seconds since 1970 of `YYYY-MM-DDTHH:MM:SS`, as if in UTC; negative before."""
    second = _seconds.get(prefix)
    if second is None:
        try:
            year, month, day = int(prefix[:4]), int(prefix[5:7]), int(prefix[8:10])
            at = datetime(year, month, day, int(prefix[11:13]), int(prefix[14:16]), int(prefix[17:]), tzinfo=UTC)
        except ValueError:
            raise _unreadable(text, "names a date or time that does not exist") from None
        second = (at.toordinal() - _EPOCH_DAY) * 86_400 + at.hour * 3600 + at.minute * 60 + at.second
        if len(_seconds) >= _CACHE_ENTRIES:
            _seconds.clear()
        _seconds[prefix] = second
    return second


def _stored(second: int, fraction: str, text: str, latest_s: int) -> str:
    if second < 0:
        raise _unreadable(text, "is before 1970")
    if second >= _YEAR_10000 or second > latest_s or (second == latest_s and fraction.strip(".0")):
        raise _future(text)
    prefix = _texts.get(second)
    if prefix is None:
        prefix = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
        if len(_texts) >= _CACHE_ENTRIES:
            _texts.clear()
        _texts[second] = prefix
    return f"{prefix}{fraction}Z"


def _unreadable(text: str, why: str) -> Rejected:
    return Rejected("invalid_timestamp", f"timestamp {text[:_LONGEST]!r} {why}.", field="timestamp")


def _future(text: str) -> Rejected:
    message = f"timestamp {text[:_LONGEST]!r} is more than 24 hours ahead of this server's clock."
    return Rejected("timestamp_in_future", message, field="timestamp")
