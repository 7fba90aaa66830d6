"""Parsec under strace, so that the power can be cut afterwards, at any moment of what it did.

In: a start of the real process. Out: its system calls on the data directory in order, and directories as a machine may
find them after a cut at a given time. `tests.support.disk` says what a cut may take.

Nothing is put between Parsec and its disk, and no privilege is needed but that of tracing one's own child.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec

from parsec.adapters.log import writer
from parsec.adapters.store.chdb.unsynced_merges import BOOT_FILE
from tests.support.disk import CALLS, Call, Disk, Unknown
from tests.support.process import Parsec

_LINE = re.compile(r"(\d+) +(\d+\.\d+) (?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)", re.DOTALL)
_END = re.compile(r"\) += (-?\d+|\?|0x[0-9a-f]+)(?: .*)? <(\d+\.\d+)>$")
_UNFINISHED = " <unfinished ...>"
_LONGEST_ARGUMENT = 1 << 24


def why_not() -> str | None:
    """Why this machine cannot record; None when it can."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed"
    tried = subprocess.run(
        [strace, "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "fsync", "true"], capture_output=True
    )
    return None if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.decode()[-200:]}"


class Recording:
    """One life of Parsec on a data directory, from its start to a clean stop. `under`: see Parsec."""

    def __init__(self, data_dir: Path, place: Path, under: Sequence[str] = (), **settings: str) -> None:
        self.data_dir = data_dir
        self._before = place / "before"
        self._trace = place / "trace"
        place.mkdir(parents=True)
        if data_dir.exists():
            shutil.copytree(data_dir, self._before, symlinks=True)
        self.parsec = Parsec(data_dir, under=[*self._strace(), *under], **settings)
        self.calls: list[Call] = []
        self.began = self.ended = 0.0

    def _strace(self) -> list[str]:
        return [
            *("strace", "-f", "--seccomp-bpf", "-ttt", "-T", "-xx", "-s", str(_LONGEST_ARGUMENT)),
            *("-e", "signal=none", "-o", str(self._trace), "-e", f"trace={','.join(CALLS)}"),
        ]

    def start(self, *, wait: bool = True) -> Parsec:
        self.began = time.time()
        return self.parsec.start(wait=wait)

    def end(self) -> None:
        """A clean stop, and the recording is read; raises Unknown unless it explains every byte that is there."""
        with self._trace.open() as trace:
            os.kill(int(trace.readline().split()[0]), signal.SIGTERM)
        assert self.parsec.process.wait(60) == 0, self.parsec.logs()[-4000:]
        self.ended = time.time()
        with self._trace.open(errors="strict") as trace:
            self.calls = list(_ours(_calls(trace), str(self.data_dir)))
        whole = self.disk()
        whole.replay(self.calls)
        if differences := whole.differences(self.data_dir):
            raise Unknown(f"the recording does not explain {differences}")

    def disk(self, deaf: str | None = None) -> Disk:
        """As it was before the start."""
        return Disk(self.data_dir, self._before, deaf)

    def cut(self, at: float, into: Path, random: Random) -> None:
        """Makes the directory that a machine may find whose power went at this time."""
        self._cut(self.disk(), at, into, random, None)

    def cut_without(self, syncs: str, at: float, into: Path) -> None:
        """The same, had Parsec never synced such files, and with nothing kept that was not synced."""
        self._cut(self.disk(syncs), at, into, Random(0), 0.0)

    def _cut(self, disk: Disk, at: float, into: Path, random: Random, kept: float | None) -> None:
        disk.replay(self.calls, until=at)
        shutil.rmtree(into, ignore_errors=True)
        disk.write_out(into, random, kept)
        _boot(into, random)

    def times(self, name: str, pattern: str) -> list[float]:
        """When calls of this kind with such arguments (paths as text) began and ended."""
        wanted = re.compile(pattern.encode())
        found = []
        for call in self.calls:
            if re.fullmatch(name, call.name) and any(wanted.search(text) for _, text in call.texts()):
                found += [call.began, call.ended]
        return found


def _boot(data_dir: Path, random: Random) -> None:
    """After a power cut the machine has another boot id; this one still runs, so what holds it is changed."""
    boot_id = random.randbytes(16)
    for name in writer.NAMES:
        path = data_dir / name
        found = writer.unpack(path.read_bytes()) if path.exists() else None
        if found is not None:
            path.write_bytes(writer.pack(msgspec.structs.replace(found, boot_id=boot_id)))
    store = data_dir / "store" / BOOT_FILE
    if store.exists():
        store.write_bytes(boot_id)


def _calls(lines: Iterator[str]) -> Iterator[Call]:
    """Calls without error, by the time at which they had their effect at the latest; a close at once."""
    begun: dict[str, tuple[float, str]] = {}
    found: list[tuple[float, int, Call]] = []
    for number, line in enumerate(lines):
        match = _LINE.match(line.rstrip("\n"))
        if match is None:
            continue  # an exit or a signal
        pid, stamp, name, rest = match.groups()
        began = float(stamp)
        if rest.endswith(_UNFINISHED):
            begun[pid] = began, rest.removesuffix(_UNFINISHED)
            continue
        resumed = "resumed>" in line.split("(", 1)[0]
        if resumed:
            began, start = begun.pop(pid)
            rest = start + rest
        end = _END.search(rest)
        if end is None:
            raise Unknown(f"strace says {line[:200]!r}")
        result = -1 if end[1] == "?" else int(end[1], 0)
        if result >= 0:
            ended = float(stamp) if resumed else began + float(end[2])
            call = Call(name, rest[: end.start()], result, began, ended)
            found.append((began if name == "close" else ended, number, call))
    return (call for _, _, call in sorted(found))


def _ours(calls: Iterator[Call], root: str) -> Iterator[Call]:
    """Those that touch the directory, with every close, so that descriptors are told apart."""
    inside = "".join(f"\\x{byte:02x}" for byte in root.encode())
    known: set[int] = set()
    for call in calls:
        first = call.args.split(",", 1)[0]
        descriptor = int(first) if first.isdigit() else -1
        if call.name == "close":
            if descriptor in known:
                known.remove(descriptor)
                yield call
        elif call.name == "mmap":
            if int(call.args.split(", ")[4]) in known:
                yield call
        elif descriptor in known or inside in call.args or call.name == "sync":
            if call.name in ("open", "openat", "creat", "dup", "dup2", "dup3", "fcntl"):
                known.add(call.result)
            yield call
        elif call.name in ("open", "openat", "creat", "dup2", "dup3") and call.result in known:
            raise Unknown(f"descriptor {call.result} was closed by a call that is not known")
