"""The parts in `detached/` of a table: which of them are missing from the table, and how much room they take.

In: a table's directory. Out: parts, by the prefix of their names: `broken` ones are missing, `restored` ones are stored
again, others were never missing. Errors: OSError. Next: parsec.adapters.store.chdb.damaged_parts.

Parsec alone detaches parts of the embedded store, so one under its plain name was detached by it, just before it ended.
"""

import re
from pathlib import Path
from typing import NamedTuple

BROKEN, RESTORED = "broken_", "restored_"
_PLAIN = re.compile(r"[^_]+(?:_\d+){3,4}")
_PREFIXED = re.compile(r"(broken[a-z-]*)_([^_]+(?:_\d+){3,4})(?:_try\d+)?")


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
        for part in self._entries():
            if _PLAIN.fullmatch(part.name):
                part.rename(self._free(BROKEN + part.name))

    def damaged(self) -> list[DetachedPart]:
        """The broken ones, oldest name first."""
        return [
            DetachedPart(found[2], _rows(part)) for part in self._entries() if (found := _PREFIXED.fullmatch(part.name))
        ]

    def has(self, part: str) -> bool:
        """Whether this part is among them."""
        return any(each.name == part for each in self.damaged())

    def mark_restored(self) -> bool:
        """Names the broken ones as restored. False: there are none."""
        broken = [part for part in self._entries() if _PREFIXED.fullmatch(part.name)]
        for part in broken:
            part.rename(self._free(RESTORED + part.name))
        return bool(broken)

    def _entries(self) -> list[Path]:
        return sorted(self.path.iterdir()) if self.path.is_dir() else []

    def _free(self, name: str) -> Path:
        path = self.path / name
        return next(
            each for each in (path, *(path.with_name(f"{name}_try{n}") for n in range(1, 1000))) if not each.exists()
        )


def _rows(part: Path) -> int:
    try:
        return int((part / "count.txt").read_bytes())
    except (OSError, ValueError):
        return 0
