"""A disk that honours fsync and promises nothing else: what a machine may find after a power cut.

In: the system calls of a process, in order (tests.support.power). Out: a directory as it may be after the cut. Raises
Unknown for a call whose effect it cannot tell.

What a synced file holds is there. Of the rest, any part may be there: sectors of a file in any combination, a size
without its bytes, the creation, renaming or removal of any name. A name is only safe once its own directory was synced.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from random import Random
from typing import NamedTuple

_TEXT = re.compile(r'(?:(AT_FDCWD|\d+), )?"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_LINKS = 8


class Unknown(AssertionError):
    """The recording has something in it that this model does not know, so that nothing it says could be believed."""


class Call(NamedTuple):
    """A system call that did not fail: `began` and `ended` in seconds since 1970, `args` as strace prints them."""

    name: str
    args: str
    result: int
    began: float
    ended: float

    def texts(self) -> list[tuple[str, bytes]]:
        """Every quoted argument, after the descriptor that stands before it."""
        found = []
        for descriptor, text, cut in _TEXT.findall(self.args):
            if cut:
                raise Unknown(f"an argument of {self.name} was not recorded whole")
            found.append((descriptor, bytes.fromhex(text.replace("\\x", ""))))
        return found

    def numbers(self) -> list[int]:
        """The plain arguments that are numbers, in order."""
        return [int(part) for part in _TEXT.sub("", self.args).split(", ") if part.lstrip("-").isdigit()]


class Change(NamedTuple):
    """Names of one directory that change together; `done` is when the call had returned."""

    done: float
    serial: int
    names: dict[str, "Node | None"]


class Node:
    """A file, directory or link: as programs see it, as it is stored for sure, and what lies between."""

    def __init__(self, kind: str = "file", target: str = "") -> None:
        self.kind = kind
        self.target = target
        self.seen = bytearray()
        self.stored = bytearray()
        self.writes: list[tuple[float, int, bytes | None]] = []
        self.names: dict[str, Node] = {}
        self.stored_names: dict[str, Node] = {}
        self.changes: list[Change] = []

    def write(self, done: float, at: int, data: bytes) -> None:
        _put(self.seen, at, data)
        self.writes.append((done, at, data))

    def truncate(self, done: float, size: int) -> None:
        _resize(self.seen, size)
        self.writes.append((done, size, None))

    def sync(self, before: float) -> None:
        """What had been done before a sync began is stored for sure once it has ended."""
        for done, at, data in self.writes:
            if done <= before:
                _resize(self.stored, at) if data is None else _put(self.stored, at, data)
        self.writes = [write for write in self.writes if write[0] > before]
        for change in self.changes:
            if change.done <= before:
                _rename(self.stored_names, change.names)
        self.changes = [change for change in self.changes if change.done > before]

    def tree(self) -> "Iterator[Node]":
        """This node and all below it."""
        yield self
        for node in self.names.values():
            yield from node.tree()

    def after_cut(self, random: Random, share: float, sector: int) -> bytes:
        """A content that the medium may hold."""
        content = bytearray(self.stored)
        for _, at, data in self.writes:
            if data is None:
                if random.random() < share:
                    _resize(content, at)
                continue
            if share and random.random() < 0.1:
                _resize(content, max(len(content), at + len(data)))  # the size came before the bytes
            for begin, end in _sectors(at, len(data), sector):
                if random.random() < share:
                    _put(content, begin, data[begin - at : end - at])
        return bytes(content)


class Open:
    """What a descriptor stands for. `path`: under which name it was opened."""

    def __init__(self, node: Node, path: str, *, append: bool) -> None:
        self.node = node
        self.path = path
        self.append = append
        self.position = 0


class Disk:
    """The tree below `root`, beginning with `content`, all of it taken for stored.

    `deaf`: syncs of files that were opened under such a name do nothing, as if the program had never called them.
    """

    def __init__(self, root: Path, content: Path, deaf: str | None = None) -> None:
        self.root = str(root)
        self._deaf = re.compile(deaf) if deaf else None
        self.top = _load(content) if content.exists() else None
        self._open: dict[int, Open] = {}
        self._serial = 0

    def replay(self, calls: Iterable[Call], until: float = float("inf")) -> None:
        """All calls that had begun; a sync that had not ended has no effect."""
        for call in calls:
            if call.began <= until:
                if call.name in ("fsync", "fdatasync", "sync", "syncfs") and call.ended > until:
                    continue
                _KNOWN.get(call.name, _unknown)(self, call)

    def write_out(self, into: Path, random: Random, kept: float | None = None) -> None:
        """What a start may find. `kept`: how likely it is that something unsynced is there; None: at random, too."""
        if self.top is None:
            return
        names = _Names(random, self._serial, kept)
        share = random.choice((0.0, 0.0, 1.0, 0.3, 0.7)) if kept is None else kept
        sector = random.choice((512, 4096))
        _write_out(self.top, into, names, lambda node: node.after_cut(random, share, sector))

    def differences(self, content: Path) -> list[str]:
        """Paths below `content` that are not as the calls made them: [] when the recording is whole."""
        return _differences(self.top, content) if self.top else [str(content)]

    # Paths and descriptors.

    def inside(self, path: str) -> bool:
        return path == self.root or path.startswith(self.root + "/")

    def places(self, call: Call) -> list[tuple[Node, str] | None]:
        """For each path the directory's node and the name in it; None for what lies outside."""
        return [self._place(descriptor, os.fsdecode(path)) for descriptor, path in call.texts()]

    def _place(self, descriptor: str, path: str) -> tuple[Node, str] | None:
        if not path.startswith("/"):
            start = self._open.get(int(descriptor)) if descriptor.isdigit() else None
            return self._walk(start.node, path) if start else None
        text = str(PurePosixPath(path))
        if not self.inside(text):
            return None
        above = Node("directory")
        name = PurePosixPath(self.root).name
        above.names = {name: self.top} if self.top else {}
        return self._walk(above, name + text[len(self.root) :])

    def _walk(self, node: Node, path: str) -> tuple[Node, str]:
        *above, name = PurePosixPath(path).parts
        trail = [node]
        links = 0
        while above:
            part = above.pop(0)
            if part == "..":
                trail.pop()
                continue
            found = trail[-1].names.get(part)
            if found is None:
                raise Unknown(f"{path} lies in a directory that was never made")
            if found.kind == "link":
                links += 1
                if links > _LINKS or found.target.startswith("/"):
                    raise Unknown(f"{path} goes through the link {found.target}")
                above = [*PurePosixPath(found.target).parts, *above]
            else:
                trail.append(found)
        return trail[-1], name

    def change(self, directory: Node, done: float, names: dict[str, Node | None]) -> None:
        _rename(directory.names, names)
        directory.changes.append(Change(done, self._serial, names))
        self._serial += 1

    def opened(self, call: Call) -> Open | None:
        return self._open.get(int(call.args.split(",", 1)[0]))

    # System calls.

    def open(self, call: Call) -> None:
        flags = _TEXT.sub("", call.args)
        self._open.pop(call.result, None)
        [place] = self.places(call)
        if place is None:
            return
        parent, name = place
        node = parent.names.get(name)
        if node is None:
            if "O_CREAT" not in flags:
                raise Unknown(f"{name} was opened and never made")
            node = Node()
            self.change(parent, call.ended, {name: node})
        if node.kind == "link":
            path = Path(os.fsdecode(call.texts()[0][1]))
            place = self._place("", os.path.normpath(path.parent / node.target))
            if place is None:
                raise Unknown(f"the link {path} leads outside")
            node = place[0].names[place[1]]
        if "O_TRUNC" in flags:
            node.truncate(call.ended, 0)
        if "SYNC" in flags or "O_TMPFILE" in flags:
            raise Unknown(f"{name} was opened with {flags}")
        self._open[call.result] = Open(node, os.fsdecode(call.texts()[0][1]), append="O_APPEND" in flags)

    def close(self, call: Call) -> None:
        self._open.pop(int(call.args), None)

    def duplicate(self, call: Call) -> None:
        if call.name == "fcntl" and "F_DUPFD" not in call.args:
            return
        source = self.opened(call)
        if source:
            self._open[call.result] = source
        else:
            self._open.pop(call.result, None)

    def seek(self, call: Call) -> None:
        if opened := self.opened(call):
            opened.position = call.result

    def write(self, call: Call) -> None:
        opened = self.opened(call)
        if opened is None:
            return
        data = b"".join(data for _, data in call.texts())[: call.result]
        if call.name in ("write", "writev"):
            at = len(opened.node.seen) if opened.append else opened.position
            opened.position = at + len(data)
        else:
            at = call.numbers()[-2 if call.name == "pwritev2" else -1]
        opened.node.write(call.ended, at, data)

    def truncate(self, call: Call) -> None:
        if opened := self.opened(call):
            opened.node.truncate(call.ended, call.numbers()[-1])

    def sync(self, call: Call) -> None:
        opened = self.opened(call)
        if opened and not (self._deaf and self._deaf.search(opened.path)):
            opened.node.sync(call.began)

    def sync_all(self, call: Call) -> None:
        if self.top and (call.name == "sync" or self.opened(call)):
            for node in self.top.tree():
                node.sync(call.began)

    def make_directory(self, call: Call) -> None:
        [place] = self.places(call)
        if place and self.top is None:
            self.top = Node("directory")  # the machine's owner has made its place safe
        elif place:
            self.change(place[0], call.ended, {place[1]: Node("directory")})

    def remove(self, call: Call) -> None:
        [place] = self.places(call)
        if place:
            self.change(place[0], call.ended, {place[1]: None})

    def rename(self, call: Call) -> None:
        old, new = self.places(call)
        if old is None and new is None:
            return
        if old is None or new is None:
            raise Unknown("a name moves into the directory or out of it")
        node = old[0].names[old[1]]
        left = new[0].names[new[1]] if "RENAME_EXCHANGE" in call.args else None
        if old[0] is new[0]:
            self.change(old[0], call.ended, {old[1]: left, new[1]: node})
        else:  # each directory has to be synced for its own half
            self.change(old[0], call.ended, {old[1]: left})
            self.change(new[0], call.ended, {new[1]: node})

    def link(self, call: Call) -> None:
        old, new = self.places(call)
        if old and new:
            self.change(new[0], call.ended, {new[1]: old[0].names[old[1]]})

    def symbolic_link(self, call: Call) -> None:
        place = self.places(call)[1]
        if place:
            self.change(place[0], call.ended, {place[1]: Node("link", os.fsdecode(call.texts()[0][1]))})

    def map(self, call: Call) -> None:
        """SQLite's index of its WAL is memory between processes; it is made anew by whoever opens the file first."""
        opened = self._open.get(int(call.args.split(", ")[4]))
        if opened is not None and "MAP_SHARED" in call.args and "PROT_WRITE" in call.args:
            opened.node.kind = "memory"


def _unknown(_: Disk, call: Call) -> None:
    raise Unknown(f"the effect of {call.name}({call.args[:200]}) is not known")


_KNOWN: dict[str, Callable[[Disk, Call], None]] = {
    **dict.fromkeys(("open", "openat", "creat"), Disk.open),
    "close": Disk.close,
    **dict.fromkeys(("dup", "dup2", "dup3", "fcntl"), Disk.duplicate),
    "lseek": Disk.seek,
    **dict.fromkeys(("write", "writev", "pwrite64", "pwritev", "pwritev2"), Disk.write),
    "ftruncate": Disk.truncate,
    **dict.fromkeys(("fsync", "fdatasync"), Disk.sync),
    **dict.fromkeys(("sync", "syncfs"), Disk.sync_all),
    **dict.fromkeys(("mkdir", "mkdirat"), Disk.make_directory),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), Disk.remove),
    **dict.fromkeys(("rename", "renameat", "renameat2"), Disk.rename),
    **dict.fromkeys(("link", "linkat"), Disk.link),
    **dict.fromkeys(("symlink", "symlinkat"), Disk.symbolic_link),
    "mmap": Disk.map,
}
CALLS = (*_KNOWN, "truncate", "fallocate", "copy_file_range", "sendfile", "splice", "io_submit", "openat2")
"""What a recording must hold; those without an entry above are met with Unknown when they touch the directory."""


class _Names:
    """Which changes of names had reached the medium: none, all, those up to a moment (a journal), or any."""

    def __init__(self, random: Random, changes: int, share: float | None) -> None:
        self._random = random
        self._share = random.choice((0.0, 0.0, 1.0, 0.3, 0.7, None)) if share is None else share
        self._before = random.randrange(changes + 1)

    def of(self, directory: Node) -> dict[str, Node]:
        names = dict(directory.stored_names)
        for change in directory.changes:
            if change.serial < self._before if self._share is None else self._random.random() < self._share:
                _rename(names, change.names)
        return names


def _write_out(node: Node, into: Path, names: _Names, content: Callable[[Node], bytes]) -> None:
    into.mkdir()
    for name, child in names.of(node).items():
        if child.kind == "directory":
            _write_out(child, into / name, names, content)
        elif child.kind == "link":
            (into / name).symlink_to(child.target)
        else:
            (into / name).write_bytes(content(child))


def _load(path: Path) -> Node:
    if path.is_symlink():
        return Node("link", str(path.readlink()))
    node = Node("directory" if path.is_dir() else "file")
    if node.kind == "directory":
        node.names = {each.name: _load(each) for each in path.iterdir()}
        node.stored_names = dict(node.names)
    else:
        node.seen[:] = node.stored[:] = path.read_bytes()
    return node


def _differences(node: Node, path: Path) -> list[str]:
    if node.kind == "link":
        return [] if path.is_symlink() and str(path.readlink()) == node.target else [str(path)]
    if node.kind == "directory":
        there = {each.name for each in path.iterdir()} if path.is_dir() else set()
        found = [str(path / name) for name in there ^ node.names.keys()]
        known = there & node.names.keys()
        return found + [one for name in known for one in _differences(node.names[name], path / name)]
    return [] if node.kind == "memory" or path.read_bytes() == node.seen else [str(path)]


def _rename(names: dict[str, Node], changes: dict[str, Node | None]) -> None:
    for name, node in changes.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _sectors(at: int, size: int, sector: int) -> Iterable[tuple[int, int]]:
    begin = at
    while begin < at + size:
        end = min(begin + sector - begin % sector, at + size)
        yield begin, end
        begin = end


def _put(content: bytearray, at: int, data: bytes) -> None:
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def _resize(content: bytearray, size: int) -> None:
    if size < len(content):
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))
