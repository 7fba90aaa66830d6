"""A file system in memory that behaves as badly as a real one may.

What was written but not synced may be lost, torn at sectors and applied out of order between files when the power goes.
A failed sync leaves bytes that can be read but are never written by a later sync. Names survive only a synced
directory. Any call can be made to fail, and the power can go in the middle of any.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from parsec.adapters.log.files import Entry, Files

SECTOR = 512
CHANGING = ("create", "write", "truncate", "sync", "sync_directory", "rename", "remove")


class PowerCut(Exception):
    """The machine went off during a call."""


class Inode:
    """`cached` is what programs see, `stored` what is on the medium; `dirty` leads from the one to the other."""

    def __init__(self) -> None:
        self.cached = bytearray()
        self.stored = bytearray()
        self.dirty: list[tuple[int, bytes | None]] = []
        self.mtime_ns = 0

    def write(self, position: int, data: bytes) -> None:
        put(self.cached, position, data)
        self.dirty.append((position, data))

    def truncate(self, size: int) -> None:
        resize(self.cached, size)
        self.dirty.append((size, None))

    def flush(self, random: Random, share: float) -> None:
        """Writes each dirty sector with this probability, in order; after that nothing is dirty."""
        for position, data in self.dirty:
            if data is None:
                if random.random() < share:
                    resize(self.stored, position)
                continue
            at = 0
            while at < len(data):
                size = min(SECTOR - (position + at) % SECTOR, len(data) - at)
                if random.random() < share:
                    put(self.stored, position + at, data[at : at + size])
                at += size
        self.dirty.clear()


class Fault(NamedTuple):
    """The call of `operation` after `skip` others fails with `error`; a write first takes `taken` bytes."""

    operation: str
    error: int
    skip: int = 0
    taken: int = 0


class FakeFiles(Files):
    """Directories need not be created."""

    def __init__(self, seed: int = 0) -> None:
        self.random = Random(seed)
        self.free = 1 << 40
        self.calls: list[str] = []
        self._names: dict[Path, Inode] = {}
        self._stored_names: dict[Path, Inode] = {}
        self._open: dict[int, Inode] = {}
        self._next_fd = 1000
        self._boots = 1
        self._off = False
        self._faults: list[Fault] = []
        self._cut_in: int | None = None

    # What tests do to it.

    def fail(self, fault: Fault) -> None:
        self._faults.append(fault)

    @property
    def is_faulty(self) -> bool:
        return bool(self._faults) or self._off

    def heal(self) -> None:
        self._faults.clear()
        self._cut_in = None

    def cut_power_in(self, calls: int) -> None:
        """The power goes in the changing call after so many others."""
        self._cut_in = calls

    def halt(self) -> None:
        """From now on every call fails: the process is dead, whatever it still tries."""
        self._off = True

    def restart(self) -> None:
        """A new process on the same running machine."""
        self._off = False
        self._open.clear()

    def power_cut(self) -> None:
        """The machine starts again with what reached the medium, and some of what was on its way."""
        for inode in {id(i): i for i in (*self._names.values(), *self._stored_names.values())}.values():
            inode.flush(self.random, self.random.choice((0.0, 0.5, 0.9, 1.0)))
            inode.cached = bytearray(inode.stored)
        if self.random.random() < 0.5:
            self._stored_names = dict(self._names)
        self._names = dict(self._stored_names)
        self._boots += 1
        self.restart()

    def names(self, suffix: str) -> list[Path]:
        return sorted(path for path in self._names if path.name.endswith(suffix))

    @property
    def holds_deleted(self) -> bool:
        """Whether a file without a name is still open, and so still takes up the disk."""
        return not {id(inode) for inode in self._open.values()} <= {id(inode) for inode in self._names.values()}

    def content(self, path: Path) -> bytes:
        return bytes(self._names[path].cached)

    def damage(self, path: Path, content: bytes | None) -> None:
        """Changes a file behind everybody's back, on the medium too; None deletes it."""
        if content is None:
            del self._names[path]
            self._stored_names.pop(path, None)
            return
        inode = self._names[path]
        inode.cached, inode.stored = bytearray(content), bytearray(content)
        inode.dirty.clear()

    # What the log does with it.

    def make_directory(self, path: Path) -> None:
        self._call("make_directory", path)

    def entries(self, path: Path) -> list[Entry]:
        self._call("entries", path)
        return [Entry(p.name, len(i.cached), i.mtime_ns) for p, i in self._names.items() if p.parent == path]

    def create(self, path: Path) -> int:
        self._call("create", path)
        if path in self._names:
            self._names[path].truncate(0)
        else:
            self._names[path] = Inode()
        return self._descriptor(self._names[path])

    def open(self, path: Path, *, write: bool = False) -> int:
        self._call("open for writing" if write else "open", path)
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return self._descriptor(self._names[path])

    def close(self, fd: int) -> None:
        if self._open.pop(fd, None) is None and not self._off:
            raise OSError(errno.EBADF, "not an open descriptor")

    def size(self, fd: int) -> int:
        self._call("size")
        return len(self._inode(fd).cached)

    def status(self, which: Path | int) -> os.stat_result:
        inode = self._inode(which) if isinstance(which, int) else self._names.get(which)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(which))
        return os.stat_result((0, id(inode), *[0] * 8))

    def read_some(self, fd: int, size: int, position: int) -> bytes:
        self._call("read")
        return bytes(self._inode(fd).cached[position : position + size])

    def write(self, fd: int, buffers: Sequence[bytes], position: int) -> int:
        inode, data = self._inode(fd), b"".join(buffers)
        try:
            fault = self._call("write")
        except PowerCut:
            inode.write(position, data[: self.random.randint(0, len(data))])
            raise
        if fault:
            taken = data[: fault.taken]
            inode.write(position, taken)
            if fault.error:
                raise OSError(fault.error, "injected")
            return len(taken)
        inode.write(position, data)
        return len(data)

    def truncate(self, fd: int, size: int) -> None:
        self._call("truncate")
        self._inode(fd).truncate(size)

    def sync(self, fd: int) -> None:
        inode = self._inode(fd)
        try:
            fault = self._call("sync", raises=False)
        except PowerCut:
            if self.random.random() < 0.5:
                inode.flush(self.random, 1.0)
            raise
        if fault:
            # The kernel reports a failed write once and takes the pages for clean from then on.
            inode.flush(self.random, self.random.choice((0.0, 0.5, 1.0)))
            raise OSError(fault.error, "injected")
        inode.flush(self.random, 1.0)

    def sync_directory(self, path: Path) -> None:
        self._call("sync_directory", path)
        kept = {p: i for p, i in self._stored_names.items() if p.parent != path}
        self._stored_names = kept | {p: i for p, i in self._names.items() if p.parent == path}

    def rename(self, old: Path, new: Path) -> None:
        self._call("rename", new)
        self._names[new] = self._names.pop(old)

    def remove(self, path: Path) -> None:
        self._call("remove", path)
        del self._names[path]

    def free_bytes(self, path: Path) -> int:
        self._call("free_bytes", path)
        return self.free

    def boot_id(self) -> bytes:
        return self._boots.to_bytes(16, "big")

    def _call(self, operation: str, path: Path | None = None, *, raises: bool = True) -> Fault | None:
        if self._off:
            raise OSError(errno.EIO, "the machine is off")
        self.calls.append(f"{operation} {path.name}" if path else operation)
        if self._cut_in is not None and operation in CHANGING:
            self._cut_in -= 1
            if self._cut_in < 0:
                self._cut_in, self._off = None, True
                raise PowerCut
        for at, fault in enumerate(self._faults):
            if fault.operation == operation:
                if fault.skip:
                    self._faults[at] = fault._replace(skip=fault.skip - 1)
                    return None
                del self._faults[at]
                if raises and operation != "write":
                    raise OSError(fault.error, "injected")
                return fault
        return None

    def _descriptor(self, inode: Inode) -> int:
        self._next_fd += 1
        self._open[self._next_fd] = inode
        return self._next_fd

    def _inode(self, fd: int) -> Inode:
        if self._off or fd not in self._open:
            raise OSError(errno.EBADF, "not an open descriptor")
        return self._open[fd]


def put(target: bytearray, position: int, data: bytes) -> None:
    """Writes into `target`, with zeros in the hole that may open before `position`."""
    if len(target) < position:
        target.extend(bytes(position - len(target)))
    target[position : position + len(data)] = data


def resize(target: bytearray, size: int) -> None:
    del target[size:]
    target.extend(bytes(size - len(target)))
