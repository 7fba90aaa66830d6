"""One process per data directory: an advisory lock on `<directory>/lock`, a file with the owner's process id.

In: a directory. Out: the lock, held until `release` or the end of the process. Errors: Fatal when another process holds
it, or the directory cannot be used. Next: parsec.adapters.log.embedded.
"""

import fcntl
import os
from pathlib import Path

from parsec.core.directory import why_unusable
from parsec.core.errors import Fatal


class DirectoryLock:
    """Held from `acquire` to `release`."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    @classmethod
    def share(cls, directory: Path) -> "DirectoryLock | None":
        """Keeps Parsec from starting while its files are read. None: no process ever held the lock. Raises Fatal."""
        try:
            fd = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            why = f"the data directory {directory} cannot be read: {error.strerror}"
            raise Fatal(f"{why}; check PARSEC_DATA_DIR") from error
        _take(directory, fd, fcntl.LOCK_SH)
        return cls(fd)

    @classmethod
    def acquire(cls, directory: Path) -> "DirectoryLock":
        """Creates the directory if it is missing. Raises Fatal with a message that names directory and holder."""
        try:
            directory.mkdir(parents=True, exist_ok=True)
            fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            why = why_unusable(directory) or f"{error.strerror} ({error.filename}); check PARSEC_DATA_DIR"
            raise Fatal(f"the data directory {directory} cannot be created or written: {why}") from error
        _take(directory, fd, fcntl.LOCK_EX)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return cls(fd)

    def release(self) -> None:
        """Safe to call twice. The file stays: removing it would race with the next owner."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _take(directory: Path, fd: int, kind: int) -> None:
    """Takes the lock, or closes `fd` and raises Fatal."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        os.close(fd)
        # A process that only reads writes no id; the file then has that of an earlier process.
        who = f"process {holder}" if holder.isdigit() and _is_alive(int(holder)) else "another process"
        raise Fatal(
            f"the data directory {directory} is in use by {who}; stop it or choose another directory"
        ) from error


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
