"""Encode rows as one block of ClickHouse's Native format, the cheapest one for the engine to read.

In: rows as tuples of Python values. Out: bytes of exactly one block. Errors: none that depend on what a tenant sent:
texts are valid UTF-8 of bounded size and numbers fit (parsec.process.rows).
Next: parsec.adapters.store.clickhouse.

A row format costs the engine about half a microsecond for each LowCardinality value it looks up; here the dictionary
is made once per block by Python's own hash table. Each step below is one pass in C over a whole column.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import chain
from struct import pack
from typing import Any

Encode = Callable[[Sequence[Any]], bytes]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


_SHORT = [_varint(n) for n in range(1 << 14)]


def _numbers(code: str, values: Sequence[int]) -> bytes:
    return pack(f"<{len(values)}{code}", *values)


def _strings(values: Collection[Any]) -> bytes:
    """Each value, text or bytes, after its length."""
    if not any(values):
        return bytes(len(values))
    encoded: Collection[bytes] = values if isinstance(next(iter(values)), bytes) else list(map(str.encode, values))
    sizes = list(map(len, encoded))
    lengths = map(_SHORT.__getitem__ if max(sizes) < len(_SHORT) else _varint, sizes)
    return b"".join(chain.from_iterable(zip(lengths, encoded, strict=True)))


def _low_cardinality(values: Sequence[str]) -> bytes:
    """Version, then the dictionary, then the index of each value in it."""
    dictionary = {value: index for index, value in enumerate(dict.fromkeys(values))}
    size = len(dictionary)
    width, code = (0, "B") if size <= 1 << 8 else (1, "H") if size <= 1 << 16 else (2, "I")
    flags = width | 1 << 9 | 1 << 10  # index width; the block brings keys; they are a new dictionary
    head = pack("<QQQ", 1, flags, size) + _strings(dictionary) + pack("<Q", len(values))
    # Most such columns hold one value in the whole block.
    return head + (bytes(len(values)) if size == 1 else _numbers(code, [dictionary[value] for value in values]))


_ENCODERS: dict[str, Encode] = {
    "String": _strings, "LowCardinality(String)": _low_cardinality, "DateTime64(9, 'UTC')": partial(_numbers, "q"),
    "UInt64": partial(_numbers, "Q"), "UInt32": partial(_numbers, "I"), "Date": partial(_numbers, "H"),
}  # fmt: skip


_COLUMNS = {
    "LowCardinality(String)": "tenant_id severity source region node log_id reason stage",
    "String": "message metadata search_text id detail raw",
    "DateTime64(9, 'UTC')": "timestamp received_at",
    "UInt64": "offset start committed stored duplicate dead lost events dead_letters bytes",
    "UInt32": "partition day expires_from received_from",
    "Date": "expires_on",
}
"""The columns that Parsec inserts, by type: a name means the same in every table (parsec.adapters.store.migrations)."""
_TYPES = {column: kind for kind, columns in _COLUMNS.items() for column in columns.split()}


class Table:
    """A table with the columns of an insert, in the order of the values in a row."""

    def __init__(self, name: str, columns: Sequence[str]) -> None:
        self.name = name
        self.types = {column: _TYPES[column] for column in columns}
        self.insert_into = f"{name} ({', '.join(f'`{column}`' for column in columns)})"
        self._encoders = [(_strings((column, kind)), _ENCODERS[kind]) for column, kind in self.types.items()]

    def block(self, rows: Collection[Sequence[Any]]) -> bytes:
        """One block of these rows, at least one."""
        parts = [_varint(len(self._encoders)), _varint(len(rows))]
        for (head, encode), values in zip(self._encoders, zip(*rows, strict=True), strict=True):
            parts += (head, encode(values))
        return b"".join(parts)
