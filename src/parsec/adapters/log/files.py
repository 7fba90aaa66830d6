"""The file system calls of the log, behind a protocol, so that tests can lose, tear and refuse writes.

In: paths, descriptors, bytes at explicit positions. Out: bytes, sizes. Errors: OSError of the kernel.
Next: parsec.adapters.log.segment.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

_IOV_MAX = 1024
"""Buffers one pwritev may take on Linux (UIO_MAXIOV)."""


class Entry(msgspec.Struct, frozen=True):
    """A file of a directory."""

    name: str
    size: int
    mtime_ns: int


class Files(Protocol):
    """Positions are explicit, so that no call depends on the one before. Every call may raise OSError."""

    def make_directory(self, path: Path) -> None:
        """Creates `path` and its parents, durably, unless they exist."""

    def entries(self, path: Path) -> list[Entry]:
        """The plain files of a directory, in no order."""

    def create(self, path: Path) -> int:
        """A descriptor to read and write an empty file; an existing one of that name is emptied."""

    def open(self, path: Path, *, write: bool = False) -> int:
        """A descriptor of an existing file."""

    def close(self, fd: int) -> None:
        """Closes the descriptor."""

    def size(self, fd: int) -> int:
        """Bytes in the file."""

    def read(self, fd: int, size: int, position: int) -> bytes:
        """`size` bytes from `position`; fewer only where the file ends."""

    def write(self, fd: int, buffers: Sequence[bytes], position: int) -> int:
        """Writes all buffers with one call; the count may be short."""

    def truncate(self, fd: int, size: int) -> None:
        """Cuts the file to `size` bytes."""

    def sync(self, fd: int) -> None:
        """fdatasync: the file's bytes and size survive a power cut."""

    def sync_directory(self, path: Path) -> None:
        """The directory's names survive a power cut."""

    def rename(self, old: Path, new: Path) -> None:
        """Moves a file, replacing `new`."""

    def remove(self, path: Path) -> None:
        """Deletes a file."""

    def free_bytes(self, path: Path) -> int:
        """Free bytes of this file system for an unprivileged process."""

    def boot_id(self) -> bytes:
        """16 bytes that change when the machine starts; zeros where unknown.

        While they are the same, all bytes written are still there, synced or not.
        """


class OsFiles:
    """The files of this machine."""

    def make_directory(self, path: Path) -> None:
        missing = [path, *path.parents]
        missing = [each for each in missing if not each.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for each in missing:
            self.sync_directory(each.parent)

    def entries(self, path: Path) -> list[Entry]:
        found = []
        with os.scandir(path) as scan:
            for item in scan:
                if item.is_file(follow_symlinks=False):
                    stat = item.stat()
                    found.append(Entry(item.name, stat.st_size, stat.st_mtime_ns))
        return found

    def create(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)

    def open(self, path: Path, *, write: bool = False) -> int:
        return os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        os.close(fd)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def read(self, fd: int, size: int, position: int) -> bytes:
        data = os.pread(fd, size, position)
        while len(data) < size:
            more = os.pread(fd, size - len(data), position + len(data))
            if not more:
                break
            data += more
        return data

    def write(self, fd: int, buffers: Sequence[bytes], position: int) -> int:
        if len(buffers) > _IOV_MAX:
            return os.pwrite(fd, b"".join(buffers), position)
        return os.pwritev(fd, buffers, position)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def remove(self, path: Path) -> None:
        path.unlink()

    def free_bytes(self, path: Path) -> int:
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize

    def boot_id(self) -> bytes:
        try:
            text = Path("/proc/sys/kernel/random/boot_id").read_text()
        except OSError:
            return bytes(16)
        return bytes.fromhex(text.strip().replace("-", ""))
