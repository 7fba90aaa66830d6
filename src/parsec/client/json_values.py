"""Convert any Python value to one that JSON can hold.

In: values of any type, also hostile ones: endless, circular, deep, huge, or with methods that raise. Out: None, bool,
str, numbers, lists and dictionaries, within a budget. Errors: none; `notes` lists the values that were cut.

NaN and infinity become their names, because JSON has none for them. Integers keep all digits. Bytes become their text,
with escapes where they are not UTF-8. An object without a JSON form becomes its `str`. Next:
parsec.client.record_encoder.
"""

import dataclasses
import math
import sys
from collections import deque
from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from parsec.api.event_rules import MAX_METADATA_DEPTH

MAX_TEXT_CHARS = 200 << 10
"""Of one text; no event holds more."""
_BUDGET = 4 * MAX_TEXT_CHARS
"""Characters of all values of a record, and two for each value: more than any event can hold, so that nothing that fits
is cut here, but a list of a billion elements ends early."""
_MOST_NOTES = 12
NOTED_NAME_CHARS = 64
_LEAST_INT, _END_INT = -(1 << 63), 1 << 64
_DIGITS = 4000
"""Python converts no more digits at once, unless told to."""
_MOST_DIGITS = 100_000
_PLAIN_SCALARS = frozenset({str, int, bool, type(None)})
_PLAIN_LEVELS, _PLAIN_LENGTH = 3, 100
_FROM_NUMPY = (list, str, bytes, bool, int, float)
_WITH_TEXT_FORM = (datetime, date, time, timedelta, UUID, Decimal)


class JsonValues:
    """One per record. `field` is the name of the field that is being converted, for the notes.

    `lengths`: of fields with a text beyond MAX_TEXT_CHARS. It is cut here without a note, because the event is too
    large then and will be cut and noted as a whole.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.lengths: dict[str, int] = {}
        self.field = ""
        self._left = _BUDGET
        self._open: set[int] = set()

    def note(self, what: str) -> None:
        """Note a cut in `field`."""
        add_note(self.notes, self.field, what)

    def convert(self, value: object, depth: int) -> Any:
        """`depth`: the level at which a container would stand; the metadata object is the first."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        self._left -= 2
        if value is None or kind is bool:
            return value
        if kind is int and _LEAST_INT <= value < _END_INT:  # type: ignore[operator]
            return value
        try:
            return self._other(value, depth)
        except Exception:  # noqa: BLE001 (methods of a value may raise anything)
            return self.text(value)

    def text(self, value: object) -> str:
        """`str` of anything, without half surrogate pairs, which UTF-8 cannot hold: they become escapes."""
        text = text_of(value)
        if len(text) > MAX_TEXT_CHARS:
            self.lengths[self.field] = max(len(text), self.lengths.get(self.field, 0))
            text = text[:MAX_TEXT_CHARS]
        self._left -= 2 + len(text)
        return text

    def mapping(self, items: Iterable[tuple[object, object]], depth: int) -> dict[str, Any]:
        """Keys become text; where two become the same, the later one gets underscores in front."""
        found: dict[str, Any] = {}
        for key, value in items:
            if self.exhausted():
                break
            found[free_name(self.name(key), found)] = self.convert(value, depth + 1)
        return found

    def name(self, key: object) -> str:
        """The name of a field, from a key of any type."""
        return self.text(_decoded(key) if isinstance(key, bytes) else key)

    def exhausted(self) -> bool:
        """Whether the budget is used up; notes it if so."""
        if self._left > 0:
            return False
        self.note("too many values")
        return True

    def _other(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int):
            return _integer(int.__int__(value))
        if isinstance(value, float):
            return _float(float.__float__(value))
        if isinstance(value, Enum):
            return self.convert(value.value, depth)
        if isinstance(value, _WITH_TEXT_FORM):
            return self.text(msgspec.to_builtins(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return self.text(_decoded(bytes(value[: MAX_TEXT_CHARS * 4])))
        plain = _from_numpy(value)
        return self._container(value, depth) if plain is value else self.convert(plain, depth)

    def _container(self, value: Any, depth: int) -> Any:
        parts = _parts(value)
        if parts is None:
            return self.text(value)
        if id(value) in self._open:
            return "{...}" if isinstance(parts, Mapping) else "[...]"
        if depth > MAX_METADATA_DEPTH:
            self.note(f"text instead of values deeper than {MAX_METADATA_DEPTH} levels")
            return self.text(value)
        self._open.add(id(value))
        try:
            if isinstance(parts, Mapping):
                return self.mapping(parts.items(), depth)
            found = []
            for each in parts:
                if self.exhausted():
                    break
                found.append(self.convert(each, depth + 1))
            return found
        finally:
            self._open.discard(id(value))


def _parts(value: Any) -> Mapping[Any, Any] | Iterable[Any] | None:
    """The contents of a container; None for any other value."""
    if isinstance(value, Mapping | list | tuple | Set | deque):
        return value
    if isinstance(value, type):
        return None
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    if hasattr(type(value), "__attrs_attrs__"):
        return {field.name: getattr(value, field.name, None) for field in value.__attrs_attrs__}
    return None


def _from_numpy(value: Any) -> Any:
    """A scalar or array of numpy as Python values; any other value unchanged."""
    if isinstance(value, type) or not hasattr(value, "dtype") or not hasattr(value, "tolist"):
        return value
    plain = value.tolist() if getattr(value, "size", 1) <= MAX_TEXT_CHARS else None
    return plain if type(plain) in _FROM_NUMPY else value


def is_plain(value: Any, levels: int = _PLAIN_LEVELS) -> bool:
    """Whether JSON holds this value as it is, as can be seen quickly. Half surrogate pairs are not looked for."""
    kind = type(value)
    if kind in _PLAIN_SCALARS:
        return True
    if kind is float:
        return math.isfinite(value)
    if levels == 0 or kind not in (dict, list) or len(value) > _PLAIN_LENGTH:
        return False
    if kind is dict and not all(type(key) is str for key in value):
        return False
    return all(is_plain(each, levels - 1) for each in (value.values() if kind is dict else value))


def free_name(name: str, taken: Mapping[str, object]) -> str:
    """`name`, with underscores in front until it is free."""
    while name in taken:
        name = f"_{name}"
    return name


def add_note(notes: list[str], field: str, what: str) -> None:
    """Adds `field: what`, once, as long as there are few."""
    note = f"{field[:NOTED_NAME_CHARS]}: {what}"
    if note not in notes and len(notes) <= _MOST_NOTES:
        notes.append(note if len(notes) < _MOST_NOTES else "and more")


def text_of(value: object) -> str:
    """`str` of anything, or the name of its type; half surrogate pairs become escapes."""
    try:
        text = str.__str__(value) if isinstance(value, str) else str(value)
        text = text if type(text) is str else str.__str__(text)
    except Exception:  # noqa: BLE001 (as above)
        text = f"<{type.__dict__['__qualname__'].__get__(type(value))}>"  # whatever its metaclass says
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _decoded(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _integer(value: int) -> int | str | msgspec.Raw:
    """All digits, as a number; as text where Python itself would not read so many back."""
    if _LEAST_INT <= value < _END_INT:
        return value
    if abs(value).bit_length() * math.log10(2) > _MOST_DIGITS:
        return f"<int of {value.bit_length()} bits>"
    digits, rest = [], abs(value)
    while rest:
        rest, part = divmod(rest, 10**_DIGITS)
        digits.append(f"{part:0{_DIGITS}}")
    text = "-" * (value < 0) + "".join(reversed(digits)).lstrip("0")
    return msgspec.Raw(text.encode()) if len(text) <= sys.int_info.default_max_str_digits else text
