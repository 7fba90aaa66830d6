"""The embedded log against a model of it, on a file system that loses, tears and refuses.

The model knows which events were acknowledged at which offsets, which ones were left in doubt, and what has been seen.
Checked throughout: I1 to I5, I7 of parsec.adapters.log.embedded; I6 whenever something was damaged.
"""

import errno
import os
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.adapters.log.reader import EmbeddedReader
from parsec.adapters.log.writer import NAMES as CHECKPOINTS
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Assigned, Counts, Group, Range, Slice
from parsec.telemetry import Telemetry
from tests.support.events import envelope
from tests.support.fake_files import CHANGING, FakeFiles, Fault, PowerCut
from tests.support.manual_clock import ManualClock
from tests.support.results import keep

OPTIONS = LogOptions(segment_bytes=4096, max_bytes=24 << 10, retention_s=60.0, disk_reserve=1 << 20)
RESERVE_LEFT, RESERVE_GONE = 1 << 30, 1 << 10
ERRORS = (errno.EIO, errno.ENOSPC)


class LogMachine(RuleBasedStateMachine):
    """`acked`: offset to value. `doubt`: values of publishes that raised; they may or may not be there."""

    @initialize(seed=st.integers(0, 1 << 32))
    def start(self, seed: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.files = FakeFiles(seed)
        self.clock = ManualClock()
        self.acked: dict[int, bytes] = {}
        self.doubt: set[bytes] = set()
        self.seen: dict[int, bytes] = {}
        self.reserved: Range | None = None
        self.committed = 0
        self.lowest_end = 0
        self.serial = 0
        self.cut_power = True
        self.damaged = False
        self.unmarked = False
        self.state_lost = False
        self.open()

    def open(self) -> None:
        """I6: opens whatever happened; only an injected error may make a second try necessary."""
        try:
            self.log = self._opened()
        except PowerCut:
            self.files.heal()
            self.die(self.cut_power)
            self.log = self._opened()
        except Fatal:
            self.files.heal()
            self.files.restart()
            self.log = self._opened()
        assert self.log.end >= self.lowest_end, "I2: offsets went back"
        self.lowest_end = self.log.end
        self.unmarked = False
        self.attach()

    def _opened(self) -> EmbeddedLog:
        return EmbeddedLog.open(
            Path(self.folder.name), OPTIONS, self.clock, Telemetry(), files=self.files, random=FixedRandom()
        )

    def attach(self) -> None:
        self.reader: EmbeddedReader = self.log.reader("processor")
        assigned = self.reader.poll(0, 1, 1)
        assert isinstance(assigned, Assigned)
        if self.state_lost:
            self.committed, self.reserved, self.state_lost = assigned.progress.committed, None, False
            assert self.committed == self.log.start
        assert assigned.progress.committed == self.committed
        assert assigned.progress.reserved == self.reserved
        self.position = self.committed

    @rule(groups=st.lists(st.lists(st.integers(0, 900), min_size=1, max_size=5), min_size=1, max_size=4))
    def publish(self, groups: list[list[int]]) -> None:
        made = [self._group(sizes) for sizes in groups]
        values = [line for group in made for line in group.lines.splitlines()]
        end = self.log.end
        try:
            self.log.publish(made)
        except Retryable:
            self.doubt.update(values)
            # All of it is durable when only the mark could not be written.
            assert self.log.end in (end, end + len(values)), "I1: a part of a publish became visible"
            self.unmarked = self.unmarked or self.log.end > end
        except PowerCut:
            self.doubt.update(values)
            self.crash(self.cut_power)
            return
        else:
            assert self.log.end == end + len(values)
            self.unmarked = False
        self.acked.update(zip(range(end, self.log.end), values, strict=False))
        self.lowest_end = self.log.end

    def _group(self, sizes: list[int]) -> Group:
        events = [envelope(self.serial + n, message="m" * size) for n, size in enumerate(sizes)]
        self.serial += len(sizes)
        lines = b"".join(b"%d %s\n" % (self.serial - len(sizes) + n, b"m" * size) for n, size in enumerate(sizes))
        return Group(events, lines)

    @rule(max_events=st.integers(1, 40), max_bytes=st.sampled_from([1, 1000, 1 << 20]))
    def poll(self, max_events: int, max_bytes: int) -> None:
        try:
            piece = self.reader.poll(0, max_events, max_bytes)
        except Retryable:
            return
        except PowerCut:
            self.crash(self.cut_power)
            return
        if piece is None:
            assert self.position == self.log.end or self.files.is_faulty, "I5: a durable offset was not given"
            return
        assert isinstance(piece, Slice)
        self.check(piece)
        assert len(piece.values) <= max_events

    def check(self, piece: Slice) -> None:
        assert piece.first == self.position, "I5: a slice does not follow"
        assert piece.next_offset <= self.log.end, "I1: given before durable"
        assert piece.next_offset - piece.first == len(piece.values) + piece.lost, "I5: an offset is unaccounted for"
        assert self.damaged or not piece.lost, "I5: lost without damage"
        for offset, value in zip(piece.offsets, piece.values, strict=True):
            assert piece.first <= offset < piece.next_offset
            assert self.seen.setdefault(offset, value) == value, "I1, I2: another event under a seen offset"
            expected = self.acked.get(offset)
            assert value in self.doubt if expected is None else value == expected, f"I2: not what {offset} was given to"
        self.position = piece.next_offset

    @precondition(lambda self: self.position > self.committed)
    @rule(share=st.floats(0, 1))
    def reserve(self, share: float) -> None:
        last = self.committed + int((self.position - self.committed - 1) * share)
        taken = Range(self.log.log_id, 0, self.committed, last)
        self.reader.reserve(taken, 1, 1)
        self.reserved = taken

    @rule(share=st.floats(0, 1))
    def commit(self, share: float) -> None:
        target = self.committed + round((self.position - self.committed) * share)
        try:
            self.reader.commit(0, 1, target, Counts(stored=target))
        except PowerCut:
            self.committed, self.reserved = target, None
            self.crash(self.cut_power)
        self.committed, self.reserved = target, None

    @rule(seconds=st.sampled_from([0.1, 1.0, 59.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(
        operation=st.sampled_from([*CHANGING, "open", "open for writing", "read"]),
        error=st.sampled_from(ERRORS),
        skip=st.integers(0, 3),
        taken=st.integers(0, 3000),
    )
    def inject(self, operation: str, error: int, skip: int, taken: int) -> None:
        # A bad sector on every third read would be damage, which `damage` is for.
        error = errno.ENOSPC if operation not in CHANGING else error
        self.files.fail(Fault(operation, error, skip, taken))

    @rule(taken=st.integers(0, 500))
    def inject_short_write(self, taken: int) -> None:
        self.files.fail(Fault("write", 0, 0, taken))

    @rule()
    def heal(self) -> None:
        self.files.heal()

    @rule(calls=st.integers(0, 12), power=st.booleans())
    def die_soon(self, calls: int, power: bool) -> None:
        """In the middle of a call, the process alone or with the machine."""
        self.cut_power = power
        self.files.cut_power_in(calls)

    @rule(
        groups=st.lists(st.lists(st.integers(0, 900), min_size=1, max_size=5), min_size=1, max_size=4),
        power=st.none() | st.booleans(),
    )
    def publish_in_doubt(self, groups: list[list[int]], power: bool | None) -> None:
        """The sync fails, the cut fails, and perhaps the process or the machine dies."""
        self.files.fail(Fault("sync", errno.EIO))
        self.files.fail(Fault("truncate", errno.EIO))
        self.publish(groups)
        if power is not None:
            self.crash(power)

    @rule(free=st.sampled_from([RESERVE_LEFT, RESERVE_GONE]))
    def fill_disk(self, free: int) -> None:
        self.files.free = free
        self.clock.advance(1)
        assert (self.log.refuses() is not None) >= (free == RESERVE_GONE)

    @rule(power=st.booleans())
    def crash(self, power: bool) -> None:
        """The process dies; with `power` the machine, too."""
        self.files.halt()
        self.log.close()
        self.die(power)
        self.open()

    def die(self, power: bool) -> None:
        if power:
            self.files.power_cut()
        else:
            self.files.restart()

    @rule()
    def restart(self) -> None:
        self.reader.close()
        try:
            self.log.close()
        except PowerCut:
            self.die(self.cut_power)
        self.open()

    @precondition(lambda self: not self.unmarked)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["flip", "cut", "zero", "delete"]),
        how=st.sampled_from(["close", "kill", "power"]),
        checkpoints=st.sampled_from([(), CHECKPOINTS[:1], CHECKPOINTS[1:], CHECKPOINTS]),
    )
    def damage(self, data: st.DataObject, kind: str, how: str, checkpoints: tuple[str, ...]) -> None:
        """Files change while the log is closed: what is missing is counted (I5), nothing else is touched (I6).

        The last publish before a power cut looks the same torn as damaged; so there, the newest file can only go whole.
        """
        self.files.heal()
        if how != "close":
            self.files.halt()
        self.log.close()
        self.die(how == "power")
        names = self.files.names(".log")
        if names:
            path = data.draw(st.sampled_from(names))
            if how == "power" and path == names[-1]:
                kind = "delete"
            content = bytearray(self.files.content(path))
            at = data.draw(st.integers(0, max(len(content) - 1, 0)))
            if content:
                self.files.damage(path, _damaged(content, kind, at))
                self.damaged = True
        for name in checkpoints:
            self.files.damage(Path(self.folder.name) / name, b"no checkpoint")
        self.damaged = self.damaged or checkpoints == CHECKPOINTS
        self.open()

    @precondition(lambda self: not self.doubt)
    @rule()
    def lose_state(self) -> None:
        """Positions start again at the oldest segment, the id and the offsets go on.

        Not after a publish in doubt: state, cut and next segment all lost is one accident more than the log survives.
        """
        self.files.heal()
        log_id = self.log.log_id
        self.log.close()
        for path in Path(self.folder.name).glob("state.db*"):
            path.write_bytes(b"no database" * 500)
        self.state_lost = True
        self.open()
        assert self.log.log_id == log_id

    @invariant()
    def refuses_or_holds_its_size(self) -> None:
        """I8: at most one publish (four groups of five events of 900 bytes and frames) above the bound."""
        assert self.log.size_bytes <= OPTIONS.max_bytes + 20_000
        assert self.log.end >= self.committed

    def teardown(self) -> None:
        """I1, I5, I7: from the committed offset on all is still there, in a process that never saw it before."""
        self.files.heal()
        self.files.free = RESERVE_LEFT
        self.crash(power=bool(self.serial % 2))
        while self.position < self.log.end:
            piece = self.reader.poll(0, 1000, 1 << 20)
            assert isinstance(piece, Slice)
            self.check(piece)
        self.reader.commit(0, 1, self.position, Counts(stored=self.position))
        self.log.publish([self._group([1])])
        self.log.close()
        self.folder.cleanup()


class FixedRandom:
    def bytes(self, n: int) -> bytes:
        return b"\x5a" * n


def _damaged(content: bytearray, kind: str, at: int) -> bytes | None:
    if kind == "delete":
        return None
    if kind == "cut":
        return bytes(content[:at])
    if kind == "flip":
        content[at] ^= 0x10
    else:
        content[at : at + 512] = bytes(len(content[at : at + 512]))
    return bytes(content)


LONG_EXAMPLES, LONG_STEPS = int(os.environ.get("PARSEC_SOAK_MACHINES", "3000")), 80


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        LogMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


def test_the_log_agrees_with_its_model() -> None:
    run(examples=60, steps=40)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_log_agrees_with_its_model_for_long() -> None:
    started = time.monotonic()
    run(examples=LONG_EXAMPLES, steps=LONG_STEPS)
    seconds = round(time.monotonic() - started)
    keep(
        "log_model",
        "tests/model/test_log_model.py",
        {"machines": LONG_EXAMPLES, "steps_at_most": LONG_STEPS, "seconds": seconds, "failures": 0},
    )
