"""The data directory while Parsec runs: its files are the owner's alone, and it stays where it is.

In: the directory, and who holds it. Out: modes of files; a health check; an ERROR line when it is gone. Errors: none.
Next: parsec.wiring.serve.

While the directory is gone, ingest answers 503 and the process is not ready, but it does not end: a service manager
would start it again, and that start would create the path anew, empty, and accept events into it. Once the directory is
back the process ends, so that the next start opens every file anew and checks it.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from parsec.core.held_directory import HeldDirectory

_log = structlog.get_logger(__name__)

WATCH_INTERVAL_S = 0.5
_OTHERS = 0o077
_OURS = ("lock", "mark", "mark.copy", "state.db*", "segments", "spool*", "store", "log", "run", "url", "keys.toml*")
"""What Parsec writes in its data directory; other files in there are someone else's."""


def make_private(data_dir: Path) -> None:
    """Files that this process makes from now on, and those that are there, are for the process's user only."""
    os.umask(_OTHERS)
    open_ = [path for path in _ours(data_dir) if not _tighten(path)]
    if open_:
        _log.warning(
            "Files in the data directory can be read by others, and their modes cannot be changed. Change their owner "
            "to the user that Parsec runs as, or run chmod -R go= on them.",
            files=[str(path) for path in open_[:5]],
        )


def _ours(data_dir: Path) -> Iterator[Path]:
    for pattern in _OURS:
        for path in data_dir.glob(pattern):
            yield from _with_content(path)


def _with_content(path: Path) -> Iterator[Path]:
    """`path`, and before it what is in it, unless others cannot get in anyway: a store has thousands of files."""
    if path.is_dir() and not path.is_symlink() and path.stat().st_mode & _OTHERS:
        for directory, _, files in os.walk(path):
            yield from (Path(directory, name) for name in files)
            yield Path(directory)
    else:
        yield path


def _tighten(path: Path) -> bool:
    """Whether others have no access to it now. A link stays as it is: what it leads to may be shared."""
    with suppress(FileNotFoundError):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & _OTHERS:
            try:
                path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
            except PermissionError:
                return False
    return True


class DirectoryWatch:
    """`held`: all directories that the process holds. `fail` ends it with an error."""

    def __init__(self, held: Sequence[HeldDirectory], fail: Callable[[], None]) -> None:
        self._held = held
        self._fail = fail
        self._reported = self._ended = False

    def why(self) -> str | None:
        """Why a directory is gone; None while each is in its place."""
        return next(filter(None, (each.why_gone() for each in self._held)), None)

    def tick(self) -> None:
        """Called every WATCH_INTERVAL_S."""
        why = self.why()
        if why is None or self._ended:
            return
        if not self._reported:
            self._reported = True
            _log.error("The data directory is gone: nothing is accepted or stored until it is back.", why=why)
        if all(each.why_gone() is None or each.is_back() for each in self._held):
            self._ended = True
            _log.error("The data directory is back. Parsec ends, so that the next start opens its files anew.")
            self._fail()
