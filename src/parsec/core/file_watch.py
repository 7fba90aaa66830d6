"""A file that people change while Parsec runs."""

from pathlib import Path


class WatchedFile:
    """Asked now and then: one `stat` each. A file that is replaced by another counts as changed, too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._look()

    def changed(self) -> bool:
        """Whether it is another than at the last call, or at the beginning."""
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        # The time of change tells of rights, too: a file that could not be read may be read now.
        return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
