"""Notice that a directory is no longer the one at its path: moved, deleted, or another one mounted over it.

In: paths when they are opened. Out: why they are not the same any more, in words, or None. Errors: none.

Open files stay those of the old directory wherever it is, but a path leads to nothing, or into another directory:
what is created by path then is apart from all that was written before. Once noticed it stays so, even when the
directory is back: what was done by path in between is unknown, so a process opens its files anew by starting again.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

_NOTHING: tuple[int, ...] = ()
_ONLY_TO_WATCH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


class HeldDirectory:
    """Directories that must stay where they are now. Each call costs one stat for each. From any thread."""

    def __init__(self, *paths: Path, renewable: Path | None = None) -> None:
        """A path that does not exist is not watched. `renewable`: a directory that may be deleted, and made anew by its
        owner, but not moved."""
        found = ((path, _identity(path)) for path in paths)
        self._expected = [(path, identity) for path, identity in found if identity]
        self._gone: str | None = None
        self._renewable = renewable
        self._renewable_fd = -1
        self._renewing = threading.Lock()
        self.renew()

    def why_gone(self) -> str | None:
        """None while all of them are in their place, and were at each earlier call."""
        self._gone = self._look() or self._gone
        return self._gone

    def is_back(self) -> bool:
        """Whether all of them are in their place again after they were gone."""
        return self._gone is not None and self._look() is None

    def was_deleted(self) -> bool:
        """Whether the renewable directory was deleted, which is told from moved by its last link."""
        with self._renewing:
            return self._renewable_fd >= 0 and os.fstat(self._renewable_fd).st_nlink == 0

    def renew(self) -> None:
        """From now on the renewable directory is the one at its path."""
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
        """With what it should be, unless it was deleted."""
        with self._renewing:
            if self._renewable is None or self._renewable_fd < 0:
                return []
            found = os.fstat(self._renewable_fd)
        return [(self._renewable, (found.st_dev, found.st_ino))] if found.st_nlink else []

    def _look(self) -> str | None:
        for path, expected in (*self._expected, *self._renewable_now()):
            found = _identity(path)
            if found == _NOTHING:
                return f"the directory {path} was moved or deleted while Parsec used it; move it back"
            if found is not None and found != expected:
                return (
                    f"another directory is in the place of {path}, or mounted over it, while Parsec uses the first "
                    "one; put the first one back"
                )
        return None


def _identity(path: Path) -> tuple[int, ...] | None:
    """None where it cannot be told, as during an error of the disk: that passes, and a move is told soon after."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _NOTHING
    except OSError:
        return None
    return found.st_dev, found.st_ino
