"""One process per data directory: advisory locks on the directory itself and on `<directory>/lock`, a file with the
owner's process id.

In: a directory. Out: the locks, held until `release` or the end of the process. Errors: Fatal when another process
holds one of them, or the directory cannot be used. Next: parsec.adapters.log.embedded.

The lock of the file is also that of earlier versions. The lock of the directory holds when someone deletes the file:
another process could lock a new one. Where a file system has no locks on directories, the file alone must do.
"""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

from parsec.core.directory import why_unusable
from parsec.core.errors import Fatal
from parsec.core.held_directory import HeldDirectory

_LOCKS = Path("/proc/locks")


class DirectoryLock:
    """Held from `acquire` to `release`. `held`: whether the directory is still at its path."""

    def __init__(self, directory: Path, fds: list[int]) -> None:
        self.held = HeldDirectory(directory)
        self._fds = fds

    @classmethod
    def share(cls, directory: Path) -> "DirectoryLock":
        """Keeps Parsec from starting while its files are read. Creates nothing. Raises Fatal."""
        fds: list[int] = []
        try:
            _lock(directory, fds, os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), fcntl.LOCK_SH)
            with suppress(FileNotFoundError):  # no process ever held it
                _lock(directory, fds, os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH)
        except OSError as error:
            _close(fds)
            why = f"the data directory {directory} cannot be read: {error.strerror}"
            raise Fatal(f"{why}; check PARSEC_DATA_DIR") from error
        return cls(directory, fds)

    @classmethod
    def acquire(cls, directory: Path) -> "DirectoryLock":
        """Creates the directory if it is missing. Raises Fatal with a message that names directory and holder."""
        fds: list[int] = []
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _lock(directory, fds, os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), fcntl.LOCK_EX)
            file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _lock(directory, fds, file, fcntl.LOCK_EX)
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            _close(fds)
            why = why_unusable(directory) or f"{error.strerror} ({error.filename}); check PARSEC_DATA_DIR"
            raise Fatal(f"the data directory {directory} cannot be created or written: {why}") from error
        return cls(directory, fds)

    def release(self) -> None:
        """Safe to call twice. The file stays: removing it would race with the next owner."""
        _close(self._fds)


def _lock(directory: Path, fds: list[int], fd: int, kind: int) -> None:
    """Takes the lock of `fd`, which joins `fds`. Raises Fatal when another process holds it; then all are closed."""
    fds.append(fd)
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if len(fds) == 1 and error.errno != errno.EWOULDBLOCK:
            return  # this file system has no locks on directories
        holder = _holder(fd, directory / "lock")
        who = f"process {holder}" if holder else "another process"
        file_is_gone = "" if (directory / "lock").exists() else " (its lock file was deleted)"
        _close(fds)
        raise Fatal(
            f"the data directory {directory} is in use by {who}{file_is_gone}; stop it or choose another directory. "
            "Do not move or delete its files while it runs"
        ) from error


def _holder(fd: int, file: Path) -> int | None:
    """The process that holds the lock: as the kernel says, else as the file says, which may be that of an earlier one.
    A process that only reads writes no id into the file."""
    inode = f":{os.fstat(fd).st_ino} "
    with suppress(OSError, ValueError, IndexError):
        found = [line.split() for line in _LOCKS.read_text().splitlines() if inode in line and " FLOCK " in line]
        for process in (int(words[4]) for words in found if words[1] == "FLOCK"):
            if process > 0 and _is_alive(process):
                return process
    with suppress(OSError, ValueError):
        process = int(file.read_text()[:20])
        return process if _is_alive(process) else None
    return None


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _close(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())
