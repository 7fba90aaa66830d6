"""Notice that a directory is no longer the one at its path: moved, deleted, or another one mounted over it.

In: paths when they are opened. Out: why they are not the same any more, in words, or None. Errors: none.

Open files stay those of the old directory wherever it is, but a path leads to nothing, or into another directory:
what is created by path then is apart from all that was written before. Once noticed it stays so, even when the
directory is back: what was done by path in between is unknown, so a process opens its files anew by starting again.
"""

from pathlib import Path

_NOTHING: tuple[int, ...] = ()


class HeldDirectory:
    """Directories that must stay where they are now. Each call costs one stat for each. From any thread."""

    def __init__(self, *paths: Path) -> None:
        """A path that does not exist is not watched."""
        found = ((path, _identity(path)) for path in paths)
        self._expected = [(path, identity) for path, identity in found if identity]
        self._gone: str | None = None

    def why_gone(self) -> str | None:
        """None while all of them are in their place, and were at each earlier call."""
        self._gone = self._look() or self._gone
        return self._gone

    def is_back(self) -> bool:
        """Whether all of them are in their place again after they were gone."""
        return self._gone is not None and self._look() is None

    def _look(self) -> str | None:
        for path, expected in self._expected:
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
