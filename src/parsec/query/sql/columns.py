"""Fields as SQL, and rows as the fields that an answer shows.

In: fields, values. Out: expressions over table `events` with the parameters they name; objects made of rows. Errors:
Rejected(invalid_parameter) for a field that cannot be shown. Next: parsec.ports.store.

Every value, and every path of metadata, is a bound parameter, never text of the statement. The engine quotes a path
itself (`{name:Identifier}`) and reads only the column of that path and type. `getSubcolumn` takes any path as a value,
but reads all types of it, three to four times as slowly (decision 0005); it serves the few paths that an identifier
cannot spell: quotes, backslashes, control characters, the empty path.
"""

import re
import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from parsec.api.event import StoredEvent
from parsec.query.language.ast import TIMES, Field
from parsec.query.language.fields import field_parameter

STRING, BOOL = "String", "Bool"
NUMBERS = ("Int64", "UInt64", "Float64")
"""The same number may be in any of them, depending on the other values of its block."""
EVENT_FIELDS = StoredEvent.__struct_fields__
"""What an answer shows of an event unless fields are chosen."""

Value = str | int | float | list[str]

_NOT_IDENTIFIER = re.compile(r"['\\\x00-\x1f\x7f]|\A\Z")
_NULL = msgspec.Raw(b"null")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST = msgspec.json.Decoder(list[msgspec.Raw])


class Parameters:
    """The values of one statement, each under its own name."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self.values: dict[str, Value] = {}

    def bind(self, value: Value, kind: str = STRING) -> str:
        """A placeholder for `value`; the same value of the same type is sent once."""
        key = (kind, repr(value))
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"v{len(self._names)}"
            self.values[name] = value
        return f"{{{name}:{kind}}}"

    def number(self, value: float) -> str:
        """Exactly this number: the engine rounds the digits of a double, but not its bits."""
        if isinstance(value, float):
            (bits,) = struct.unpack("<Q", struct.pack("<d", value))
            return f"reinterpretAsFloat64({self.bind(bits, 'UInt64')})"
        return self.bind(value, "UInt64" if value >= 1 << 63 else "Int64")

    def timestamp(self, nanoseconds: int) -> str:
        return f"fromUnixTimestamp64Nano({self.bind(nanoseconds, 'Int64')}, 'UTC')"


def typed_value(path: str, kind: str, parameters: Parameters) -> str:
    """The value of this type at a path of metadata: NULL, or an empty array, where there is none of this type."""
    if _NOT_IDENTIFIER.search(path):
        return f"dynamicElement({any_value(path, parameters)}, '{kind}')"
    return f"attributes.{parameters.bind(path, 'Identifier')}.:`{kind}`"


def any_value(path: str, parameters: Parameters) -> str:
    """The value at a path, of whatever type; NULL where there is none."""
    if _NOT_IDENTIFIER.search(path):
        return f"getSubcolumn(attributes, {parameters.bind(path)})"
    return f"attributes.{parameters.bind(path, 'Identifier')}"


def object_at(path: str, parameters: Parameters) -> str:
    """The object at a path; empty where there is none."""
    return f"getSubcolumn(attributes, concat('^`', {parameters.bind(path)}, '`'))"


def text_value(field: Field, parameters: Parameters) -> str:
    """The value as text, for grouping and listing; NULL where there is none. Times have the form of events, lists that
    of the engine."""
    if field.name == "metadata":
        return f"CAST({any_value(field.path, parameters)}, 'Nullable(String)')"
    if field.name in TIMES:
        # There are always nine decimals, so the seconds keep their zeros.
        return f"concat(replaceRegexpOne(replaceOne(toString({field.name}), ' ', 'T'), '[.]?0*$', ''), 'Z')"
    return field.name


def number_value(field: Field, parameters: Parameters) -> str:
    """The number at a path of metadata, as a double; NULL where there is none."""
    values = [f"toFloat64({typed_value(field.path, kind, parameters)})" for kind in reversed(NUMBERS)]
    return f"coalesce({', '.join(values)})"


class Projection:
    """The chosen fields. `columns` have to be read for them; a path of metadata is found in its text, as it was sent,
    nested or as a literal dotted key. A field that an event lacks is null."""

    def __init__(self, names: Sequence[str]) -> None:
        self._paths: dict[str, str | None] = {}
        for name in names:
            field = None if name in EVENT_FIELDS else field_parameter(name, "fields")
            self._paths[name] = field.path if field is not None and field.name == "metadata" else None
        self.columns = tuple(
            dict.fromkeys("metadata" if path is not None else name for name, path in self._paths.items())
        )

    def event(self, values: Sequence[Any]) -> dict[str, object]:
        """An event, made of the values of `columns`."""
        row = dict(zip(self.columns, values, strict=True))
        for name in TIMES:
            if name in row:
                row[name] = shorten(row[name])
        if "metadata" in row:
            row["metadata"] = msgspec.Raw(row["metadata"].encode())
        return {
            name: row[name] if path is None else _value_at(row["metadata"], path) for name, path in self._paths.items()
        }


WHOLE_EVENT = Projection(EVENT_FIELDS)


def shorten(timestamp: str) -> str:
    """RFC 3339 with nine decimals, without the zeros at their end."""
    return timestamp[:-1].rstrip("0").rstrip(".") + "Z"


def _value_at(metadata: msgspec.Raw, path: str) -> msgspec.Raw:
    """As it was sent; of a path through a list of objects the list of their values."""
    values = _OBJECT.decode(metadata)
    if path in values:
        return values[path]
    for end in (n for n, character in enumerate(path) if character == "."):
        inner, rest = values.get(path[:end], _NULL), path[end + 1 :]
        first = bytes(inner)[:1]
        if first == b"{":
            found = _value_at(inner, rest)
        else:
            each = _each_value_at(inner, rest) if first == b"[" else []
            found = msgspec.Raw(b"[%b]" % b",".join(each)) if each else _NULL
        if found is not _NULL:
            return found
    return _NULL


def _each_value_at(items: msgspec.Raw, path: str) -> list[msgspec.Raw]:
    objects = (item for item in _LIST.decode(items) if bytes(item).startswith(b"{"))
    return [found for item in objects if (found := _value_at(item, path)) is not _NULL]
