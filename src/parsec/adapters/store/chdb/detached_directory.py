"""The parts in `detached/` of a table: which of them are missing from the table, and how much room they take.

In: a table's directory. Out: parts, by the prefix of their names: `broken` ones are missing, `restored` ones are stored
again, others were never missing. Errors: OSError. Next: parsec.adapters.store.chdb.damaged_parts.

Parsec alone detaches parts of the embedded store, so one under its plain name was detached by it, just before it ended.
"""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from parsec.adapters.store.chdb.sync import ROWS_FILE, rows_of

BROKEN, RESTORED = "broken_", "restored_"
MOST_BYTES, PART_OF_DISK = 1 << 30, 20
"""Of all parts in `detached/`, and at most a 20th of the disk; oldest leave first, those that are missing last."""
NEEDED_S = 25 * 3600.0
"""A missing part is kept at least as long as the log holds its events (PARSEC_LOG_RETENTION, a day)."""
# A partition is `all`, a day, or a hash; then the first and the last block, the level, perhaps a mutation.
_NAME = r"(?:all|\d{8}|[0-9a-f]{32})(?:_\d+){3,4}"
_PLAIN = re.compile(_NAME)
_PREFIXED = re.compile(rf"(broken[a-z-]*)_({_NAME})(?:_try\d+)?")


class DetachedPart(NamedTuple):
    """One that is missing. `rows`: 0 where its files do not tell."""

    name: str
    rows: int


class DetachedDirectory:
    """Of one table. For one thread at a time."""

    def __init__(self, table: Path) -> None:
        self.path = table / "detached"
        self.uuid = table.name

    def adopt(self) -> None:
        """Names parts that were just detached as broken ones."""
        for part in self.entries():
            if _PLAIN.fullmatch(part.name):
                part.rename(self._free(BROKEN + part.name))

    def damaged(self) -> list[DetachedPart]:
        """The broken ones, oldest name first."""
        return [
            DetachedPart(found[2], rows_of(part))
            for part in self.entries()
            if (found := _PREFIXED.fullmatch(part.name))
        ]

    def has(self, part: str) -> bool:
        """Whether this part is among them."""
        return any(each.name == part for each in self.damaged())

    def mark_restored(self) -> bool:
        """Names the broken ones as restored. False: there are none."""
        broken = [part for part in self.entries() if _PREFIXED.fullmatch(part.name)]
        for part in broken:
            part.rename(self._free(RESTORED + part.name))
        return bool(broken)

    def entries(self) -> list[Path]:
        """All parts, by name."""
        return sorted(path for path in self.path.iterdir() if path.is_dir()) if self.path.is_dir() else []

    def _free(self, name: str) -> Path:
        path = self.path / name
        return next(
            each for each in (path, *(path.with_name(f"{name}_try{n}") for n in range(1, 1000))) if not each.exists()
        )


def prune(
    directories: Iterable[DetachedDirectory], now: float, retention_s: float, most_bytes: int
) -> tuple[dict[str, int], int]:
    """Frees what is too much, and removes what was detached longer ago than rows are kept. Returns the bytes freed of
    each part that was too much, and the bytes left. Of a missing part its name stays, so that it is still reported."""
    parts = [(part, part.stat().st_ctime, _bytes(part)) for each in directories for part in each.entries()]
    for part, since, _ in parts:
        if now - since > retention_s:
            shutil.rmtree(part)
    parts = [each for each in parts if now - each[1] <= retention_s]
    left, freed = sum(size for _, _, size in parts), {}
    for part, since, size in sorted(parts, key=lambda each: (_is_missing(each[0]), each[1])):
        if left <= most_bytes or (_is_missing(part) and now - since < NEEDED_S):
            break
        if size:
            _remove(part)
            freed[part.name], left = size, left - size
    return freed, left


def _remove(part: Path) -> None:
    if not _is_missing(part):
        shutil.rmtree(part)
        return
    for file in part.iterdir():
        if file.is_dir():  # of a projection
            shutil.rmtree(file)
        elif file.name != ROWS_FILE:
            file.unlink()


def _is_missing(part: Path) -> bool:
    return _PREFIXED.fullmatch(part.name) is not None


def _bytes(part: Path) -> int:
    return sum(file.stat().st_size for file in part.rglob("*") if file.is_file() and file.name != ROWS_FILE)
