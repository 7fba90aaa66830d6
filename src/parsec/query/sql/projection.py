"""Which fields of an event an answer shows.

In: names of fields. Out: the columns to read, and rows as objects with these names in this order. Errors:
Rejected(invalid_parameter) for a name that is none. A path below metadata is read from the text as it was sent, nested
or as a literal dotted key; a field that an event lacks is null.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from parsec.query.language import fields
from parsec.query.language.ast import TIMES

EVENT = ("id", "tenant_id", "timestamp", "severity", "source", "message", "metadata", "received_at")
"""What an event shows when nothing is chosen."""
_NULL = msgspec.Raw(b"null")

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Projection:
    """The chosen fields, or all of EVENT."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = tuple(dict.fromkeys(names)) or EVENT
        self._paths = {name: _path(name) for name in self.names}
        wanted = ("metadata" if path is not None else name for name, path in self._paths.items())
        self.columns = tuple(dict.fromkeys(wanted))

    def shown(self, values: Sequence[Any]) -> dict[str, object]:
        """An event, from the values of `columns`."""
        row = dict(zip(self.columns, values, strict=True))
        for time in TIMES:
            if time in row:
                row[time] = shortest(row[time])
        metadata = msgspec.Raw(row["metadata"].encode()) if "metadata" in row else _NULL
        return {
            name: row[name] if path is None else at(metadata, path) if path else metadata
            for name, path in self._paths.items()
        }


def shortest(moment: str) -> str:
    """Nine digits of fraction and `Z`, without zeros at the end."""
    return moment[:-1].rstrip("0").rstrip(".") + "Z"


def at(metadata: msgspec.Raw, path: str) -> msgspec.Raw:
    """The value at a path, as it was sent; null where there is none."""
    values = _OBJECT.decode(metadata)
    if path in values:
        return values[path]
    for end in (n for n, character in enumerate(path) if character == "."):
        inner = values.get(path[:end])
        if inner is not None and bytes(inner).startswith(b"{"):
            found = at(inner, path[end + 1 :])
            if found is not _NULL:
                return found
    return _NULL


def _path(name: str) -> str | None:
    """None for a column of its own, an empty path for the metadata as a whole."""
    if name in EVENT:
        return "" if name == "metadata" else None
    field = fields.named(name, "fields")
    return field.path if field.name == "metadata" else None
