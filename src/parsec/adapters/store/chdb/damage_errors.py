"""Read the engine's errors: whether one means damage, and which parts it names.

In: an error of the driver, or the text of a failed check. Out: whether it is certain, a limit, or may be either; pairs
of a table's UUID and a part's name. Errors: none. Next: parsec.adapters.store.chdb.damaged_parts.
"""

import re
from collections.abc import Iterator

# Numbers of ClickHouse's ErrorCodes.cpp.
_CERTAIN = frozenset({40, 246, 271, 432})  # checksum does not match, corrupted data, cannot decompress, unknown codec
_LIMITS = frozenset({
    158, 159, 160, 191, 209, 307, 396, 394,  # rows, time, socket, bytes, size of the answer, cancelled
    173, 241, 439, 202, 236, 473,  # memory, threads, queries at once, aborted, lock
    75, 76, 243, 252,  # cannot write, cannot open (descriptors, permission), no space, too many parts
})  # fmt: skip
_CODE = re.compile(r"Code: (\d+)\.")
# What a damaged length asks for is beyond any machine.
_ABSURD_MEMORY = re.compile(r"allocate chunk of [\d.]+ (?:TiB|PiB|EiB)")
_BAD_SECTOR = re.compile(r"errno: 5\b|Input/output error")
_CANNOT_READ = 74
_PART = re.compile(r"/store/[0-9a-f]{3}/([0-9a-f-]{36})/((?:[^/\s_]+_)+\d+)/")
_SHOWN = 300


def is_certain(error: object) -> bool:
    """Whether nothing but damage raises this error."""
    return _code(error) in _CERTAIN


def is_limit(error: object) -> bool:
    """Whether time, memory, descriptors, space or a stop raise this error, so that it says nothing about a part."""
    code, text = _code(error), str(error)
    if code in (173, 241):
        return not _ABSURD_MEMORY.search(text)
    if code == _CANNOT_READ:
        return not _BAD_SECTOR.search(text)
    return code is None or code in _LIMITS


def named_parts(error: object) -> Iterator[tuple[str, str]]:
    """Each (UUID of a table, name of a part) whose file the error names."""
    yield from dict.fromkeys(_PART.findall(str(error)))


def shortened(text: str) -> str:
    """The beginning and the end: the engine names the file last, after advice about hardware."""
    return text if len(text) <= 2 * _SHOWN else f"{text[:_SHOWN]} ... {text[-_SHOWN:]}"


def _code(error: object) -> int | None:
    found = _CODE.search(str(error))
    return int(found[1]) if found else None
