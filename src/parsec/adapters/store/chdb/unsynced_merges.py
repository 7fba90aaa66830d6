"""After the machine was started anew: let the parts that were merged stand for the merged part, while all are there.

In: the store's directory, before the engine opens it. Out: merged parts renamed, so that the engine removes them and
merges their sources again. Errors: Fatal, as in parsec.adapters.store.chdb.sync.
Next: parsec.adapters.store.chdb.engine.

The engine syncs not all files of a merged part; Parsec does, up to 5 s later. A power cut in between may leave a file
with its size and without its bytes. The engine compares only sizes when it opens, and removes the sources at once.

Invariants, cited by tests
 1. A merged part is set aside only if its sources have exactly its rows, and each of their files is there. Sources
    begin to leave long after their merged part was synced, so one that has incomplete sources is sound.
 2. What covers other parts without being made of them, as an empty part in place of a dropped one does, stays.
 3. It is done once for each start of the machine: what the end of a process leaves needs no sync.
"""

import os
import re
import shutil
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import structlog

from parsec.adapters.store.chdb import sync
from parsec.core.boot import UNKNOWN, boot_id

_log = structlog.get_logger(__name__)

BOOT_FILE = "boot"
_NAME = re.compile(r"([0-9a-z]+)_(\d+)_(\d+)_(\d+)")  # with a fifth number it comes from a mutation, not from a merge
_TABLES = "store/*/*"
_CHECKSUMS = b"checksums format version: 4\n"
_NOT_LISTED = ("columns.txt", "columns_substreams.txt", "default_compression_codec.txt", "metadata_version.txt")
_LZ4, _HASH, _HEAD = 0x82, 16, 9
_LONG, _SHORTEST_MATCH = 15, 4


class _Part(NamedTuple):
    path: Path
    partition: str
    first: int
    last: int
    level: int

    def covers(self, other: "_Part") -> bool:
        return (
            self.partition == other.partition
            and self.first <= other.first
            and other.last <= self.last
            and self.level > other.level
        )


def use_sources(store: Path) -> None:
    """Sets aside merged parts that may lack what was never synced."""
    boot, known = store / BOOT_FILE, boot_id()
    if known != UNKNOWN and boot.is_file() and boot.read_bytes() == known:
        return
    for table in sorted(store.glob(_TABLES)):
        with suppress(OSError):  # what cannot be read or renamed the engine meets as well
            _use_sources_of(table)
    with suppress(OSError):  # for example a full disk: the next start does it again
        fresh = boot.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(known)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(boot)
        sync.directory(store)


def _use_sources_of(table: Path) -> None:
    """Merged parts that were set aside may be sources themselves: what they were made of stands for them in turn."""
    parts = [part for path in table.iterdir() if (part := _part(path)) is not None]
    below = {merged: [part for part in parts if merged.covers(part)] for merged in parts if merged.level > 0}
    complete = {part for part in set(chain.from_iterable(below.values())) if _is_complete(part)}
    unsynced = [merged for merged, some in below.items() if _has_sources(merged, [*complete.intersection(some)])]
    for part in unsynced:
        aside = part.path.with_name(sync.REMOVED_AT_START + part.path.name)
        shutil.rmtree(aside, ignore_errors=True)
        part.path.rename(aside)
    if unsynced:
        sync.directory(table)
        _log.info(
            "The machine was started anew. What the store merged just before it stopped is merged again.",
            directory=str(table), parts=[part.path.name for part in unsynced],
        )  # fmt: skip


def _has_sources(merged: _Part, below: list[_Part]) -> bool:
    """`below`: complete parts that it covers. A merge of a merge that is incomplete has the sources of that one."""
    sources = [part for part in below if not any(other.covers(part) for other in below)]
    rows = sync.rows_of(merged.path)
    return rows > 0 and sum(sync.rows_of(part.path) for part in sources) == rows


def _part(path: Path) -> _Part | None:
    found = _NAME.fullmatch(path.name)
    return _Part(path, found[1], int(found[2]), int(found[3]), int(found[4])) if found else None


def _is_complete(part: _Part) -> bool:
    """Whether each of its files is there, in the size that its list of checksums gives."""
    try:
        sizes = listed_files((part.path / "checksums.txt").read_bytes())
        listed = all((part.path / name).stat().st_size == size for name, size in sizes.items())
        return listed and all((part.path / name).stat().st_size for name in _NOT_LISTED)
    except (OSError, ValueError, IndexError):
        return False


def listed_files(checksums: bytes) -> dict[str, int]:
    """The sizes of a part's files by name. Raises ValueError, IndexError."""
    if not checksums.startswith(_CHECKSUMS):
        raise ValueError("the list of checksums has an unknown form")
    data, at, found = _unpacked(checksums[len(_CHECKSUMS) :]), 0, {}
    count, at = _varint(data, at)
    for _ in range(count):
        length, at = _varint(data, at)
        name, at = data[at : at + length].decode(), at + length
        found[name], at = _varint(data, at)
        at += _HASH
        is_compressed, at = data[at], at + 1
        if is_compressed:
            _, at = _varint(data, at)
            at += _HASH
    return found


def _unpacked(blocks: bytes) -> bytes:
    out = b""
    while blocks:
        head = blocks[_HASH : _HASH + _HEAD]
        size = int.from_bytes(head[1:5], "little")
        if head[0] != _LZ4 or size <= _HEAD:
            raise ValueError("the list of checksums has an unknown compression")
        out += _lz4(blocks[_HASH + _HEAD : _HASH + size])
        blocks = blocks[_HASH + size :]
    return out


def _lz4(block: bytes) -> bytes:
    """https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md"""
    out, at = bytearray(), 0
    while at < len(block):
        token, at = block[at], at + 1
        length, at = _length(block, at, token >> 4)
        out += block[at : at + length]
        at += length
        if at >= len(block):
            break
        back, at = int.from_bytes(block[at : at + 2], "little"), at + 2
        if not 0 < back <= len(out):
            raise ValueError("the list of checksums is damaged")
        length, at = _length(block, at, token & _LONG)
        for _ in range(length + _SHORTEST_MATCH):
            out.append(out[-back])
    return bytes(out)


def _length(block: bytes, at: int, length: int) -> tuple[int, int]:
    more = 255 if length == _LONG else 0
    while more == 255:
        more, at = block[at], at + 1
        length += more
    return length, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while data[at] > 127:
        number |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
    return number | data[at] << shift, at + 1
