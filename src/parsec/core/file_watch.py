"""Notice that a file was changed or replaced. In: a path. Out: whether it changed since the last call."""

from pathlib import Path


class WatchedFile:
    """Each call of `changed` costs one `stat`. A replaced file counts as changed, too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._signature()

    def changed(self) -> bool:
        """Whether it changed since the last call, or since this object was made."""
        before, self._seen = self._seen, self._signature()
        return self._seen != before

    def _signature(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        # st_ctime covers permissions: a file that was unreadable may be readable now.
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
