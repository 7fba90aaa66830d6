"""Remove the directories that the engine makes anew when its own is moved away in the middle of an insert or a merge.

In: the path where the store was. Out: nothing at that path. Errors: none; what cannot be removed stays.
Next: parsec.adapters.store.chdb.engine.

The engine creates each directory on the way to a part that it writes. Such a part is of no use: its range is not
committed, so its events are still in the log, or it was merged from parts that are in the directory that was moved.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)


def remove_remade(store: Path) -> None:
    """Called once the store is known to be elsewhere. Removes only what cannot be a store: one has other files, too."""
    aside = store.with_name(f"{store.name}.remade-{os.getpid()}")
    with suppress(OSError):
        if not _is_remade(store):
            return
        store.rename(aside)  # so that nothing else can come to be in its place while it is removed
        if not _is_remade(aside):
            aside.rename(store)
            return
        shutil.rmtree(aside)
        _log.info("Directories that the engine had made at the store's old path were removed.", path=str(store))
        store.parent.rmdir()  # fails unless the engine made it, too


def _is_remade(path: Path) -> bool:
    return sorted(entry.name for entry in path.iterdir()) == ["store"]
