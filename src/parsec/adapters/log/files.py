"""The file system calls of the log, in one class, so that tests can replace it and lose, tear and refuse writes.

In: paths, descriptors, bytes at explicit positions. Out: bytes, sizes. Errors: OSError of the kernel, from every call.
Next: parsec.adapters.log.segment.
"""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from parsec.core.boot import boot_id

READ_ERRORS = frozenset({errno.EIO, errno.EBADMSG, getattr(errno, "EUCLEAN", errno.EIO)})
"""Errors of a disk that has lost bytes. Any other error is temporary and no reason to give up data."""
MOST_BUFFERS = 1024
"""For one `write` on Linux (UIO_MAXIOV)."""


class Entry(msgspec.Struct, frozen=True):
    """A file of a directory."""

    name: str
    size: int
    mtime_ns: int


class Files:
    """Positions are explicit, so that no call depends on the one before."""

    read_some: Callable[[int, int, int], bytes] = staticmethod(os.pread)
    """(fd, size, position): up to `size` bytes, at least one unless the file ends."""
    write: Callable[[int, Sequence[bytes], int], int] = staticmethod(os.pwritev)
    """(fd, buffers, position): the bytes written, which may be fewer; at most MOST_BUFFERS buffers."""
    sync: Callable[[int], None] = staticmethod(os.fdatasync)
    """(fd): the file's bytes and size survive a power cut."""
    status: Callable[[Path | int], os.stat_result] = staticmethod(os.stat)
    """Of a path, or of the file that a descriptor is open on."""

    def make_directory(self, path: Path) -> None:
        """Creates `path` and its parents, durably, unless they exist."""
        missing = [each for each in (path, *path.parents) if not each.exists()]
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for each in missing:
            self.sync_directory(each.parent)

    def entries(self, path: Path) -> list[Entry]:
        """The plain files of a directory, in no order."""
        with os.scandir(path) as scan:
            found = [(item.name, item.stat()) for item in scan if item.is_file(follow_symlinks=False)]
        return [Entry(name, stat.st_size, stat.st_mtime_ns) for name, stat in found]

    def create(self, path: Path) -> int:
        """A descriptor to read and write an empty file; an existing one of that name is emptied."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def open(self, path: Path, *, write: bool = False) -> int:
        """A descriptor of an existing file."""
        return os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        os.close(fd)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def read(self, fd: int, size: int, position: int) -> bytes:
        """`size` bytes from `position`; fewer only where the file ends."""
        data = b""
        while len(data) < size and (more := self.read_some(fd, size - len(data), position + len(data))):
            data += more
        return data

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def sync_directory(self, path: Path) -> None:
        """The names in the directory survive a power cut."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: Path, new: Path) -> None:
        """Replaces `new`."""
        old.rename(new)

    def remove(self, path: Path) -> None:
        path.unlink()

    def free_bytes(self, path: Path) -> int:
        """Free bytes of the file system for an unprivileged process."""
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize

    def boot_id(self) -> bytes:
        """16 bytes that change when the machine starts; zeros where unknown.

        While they are the same, all bytes written are still there, synced or not.
        """
        return boot_id()
