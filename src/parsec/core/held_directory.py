"""Detect that a directory was moved, deleted, or hidden by another one mounted over it.

In: the paths of directories in use. Out: the reason why one is gone, or None. Errors: none.

Open files stay with the old directory, but its path leads to nothing or to another directory, so new files would be
separate from the old ones. The result stays even when the directory is back: files may have been created elsewhere
meanwhile, so the process must start again.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

GONE = "the data directory is not in its place (moved, deleted, or replaced): put it back; Parsec's log names it"
"""For clients, who do not learn paths of this machine."""
_NO_DIRECTORY: tuple[int, ...] = ()
_ONLY_TO_WATCH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


class HeldDirectory:
    """Directories that must stay in place. A call costs one stat for each of them. From any thread."""

    def __init__(self, *paths: Path, renewable: Path | None = None) -> None:
        """A path that does not exist is not watched. `renewable`: a directory that its owner creates again if it is
        deleted, but that must not be moved."""
        found = ((path, _identity(path)) for path in paths)
        self._expected = [(path, identity) for path, identity in found if identity]
        self._gone: str | None = None
        self._renewable = renewable
        self._renewable_fd = -1
        self._renewing = threading.Lock()
        self.renew()

    def why_gone(self) -> str | None:
        """None while all of them are in place, now and at each earlier call."""
        gone = self._look()
        if gone is not None:  # else another thread may just have found it gone
            self._gone = gone
        return self._gone

    def is_back(self) -> bool:
        """Whether all of them are in place again after one was gone."""
        return self._gone is not None and self._look() is None

    def was_deleted(self) -> bool:
        """Whether the renewable directory was deleted; a moved one still has a link."""
        with self._renewing:
            return self._renewable_fd >= 0 and os.fstat(self._renewable_fd).st_nlink == 0

    def renew(self) -> None:
        """Watch the directory that is now at the path of the renewable one."""
        with self._renewing:
            self._close()
            if self._renewable is not None:
                with suppress(OSError):
                    self._renewable_fd = os.open(self._renewable, _ONLY_TO_WATCH)

    def close(self) -> None:
        """Safe to call twice."""
        with self._renewing:
            self._close()

    def _close(self) -> None:
        if self._renewable_fd >= 0:
            os.close(self._renewable_fd)
        self._renewable_fd = -1

    def _renewable_now(self) -> list[tuple[Path, tuple[int, ...]]]:
        """The renewable directory with its identity, unless it was deleted."""
        with self._renewing:
            if self._renewable is None or self._renewable_fd < 0:
                return []
            found = os.fstat(self._renewable_fd)
        return [(self._renewable, (found.st_dev, found.st_ino))] if found.st_nlink else []

    def _look(self) -> str | None:
        for path, expected in (*self._expected, *self._renewable_now()):
            found = _identity(path)
            if found == _NO_DIRECTORY:
                return f"the directory {path} was moved or deleted while Parsec used it; move it back"
            if found is not None and found != expected:
                return (
                    f"the directory {path} was replaced, or another one mounted over it, while Parsec used it; "
                    "put the first one back"
                )
        return None


def _identity(path: Path) -> tuple[int, ...] | None:
    """None if unknown, as during a disk error: a later call decides."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _NO_DIRECTORY
    except OSError:
        return None
    return found.st_dev, found.st_ino
