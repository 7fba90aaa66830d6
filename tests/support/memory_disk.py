"""Directories whose syncs cost nothing, for tests that ask what an engine answers and not what a disk keeps.

An engine waits for the disk several times in each statement, and a disk that others use makes that seconds. What must
survive a crash or a power cut has tests of its own, with the real disk or a model of it.
"""

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 (made by mkdtemp)
_ENOUGH_BYTES = 2 << 30
"""Of a container it may have 64 MiB only."""


def quick_directory(name: str) -> Path:
    """A new directory in memory, or in the usual place where the machine has no room for one there."""
    return Path(tempfile.mkdtemp(prefix=f"parsec-test-{name}-", dir=_MEMORY if _has_room() else None))


def _has_room() -> bool:
    return os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ENOUGH_BYTES
