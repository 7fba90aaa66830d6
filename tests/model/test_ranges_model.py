"""The way of ranges into the store as a state machine: crashes at any call, two owners, a store that misbehaves, and
one that loses what it had.

Invariant: in the end each record that was made durable and not lost is stored or dead exactly once, and the ledger of
offsets says just that. Numbers in parsec.process.range_commit.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parsec.core.errors import Retryable
from parsec.process.loop import Processor
from tests.support.processing import Crash, Rig

RECORDS = st.sampled_from([b"event", b"event", b"event", b"id:a", b"id:b", b"id:c", b"dead", b"poison"])
ERRORS = st.sampled_from(["crash", "retry"])


class Ranges(RuleBasedStateMachine):
    """One partition; the processor of the moment, perhaps a zombie, and calls that fail at a drawn place."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.zombie: Processor | None = None
        self.late_insert = False

    @rule(values=st.lists(RECORDS, min_size=1, max_size=12))
    def append(self, values: list[bytes]) -> None:
        self.rig.log.append(*values)

    @rule(length=st.integers(1, 3), data=st.data())
    @precondition(lambda self: not self.late_insert)
    def lose(self, length: int, data: st.DataObject) -> None:
        """Not while a block is on its way: nobody could know that a record lost from the log is about to be stored."""
        log, committed = self.rig.log, self.rig.log.progress[0].committed
        if committed < len(log.records[0]):
            first = data.draw(st.integers(committed, len(log.records[0]) - 1))
            log.lose(first, min(first + length, len(log.records[0])) - 1)

    @rule(largest=st.sampled_from([1, 2, 3, 100]))
    def slices_are_at_most(self, largest: int) -> None:
        self.rig.largest = self.rig.reader.largest = largest

    @rule(seconds=st.sampled_from([0, 0.2, 1, 6]), turns=st.integers(1, 4))
    def turn(self, seconds: float, turns: int) -> None:
        self.rig.turn(turns, seconds)

    @rule(call=st.integers(1, 25), kind=ERRORS, turns=st.integers(1, 6))
    def turn_with_trouble(self, call: int, kind: str, turns: int) -> None:
        """The nth call of log or store fails: before, in the middle of, or after its effect."""
        seen = [0]

        def nth(_: str) -> None:
            seen[0] += 1
            if seen[0] == call:
                raise Crash if kind == "crash" else Retryable("trouble")

        self.rig.clear_hooks(nth)
        self.turn_or_restart(turns)

    @rule(kind=ERRORS, turns=st.integers(1, 6))
    @precondition(lambda self: not self.late_insert)
    def insert_lands_late(self, kind: str, turns: int) -> None:
        """The client gives up (or is killed) and the store goes on with the block.

        Not with a refused row in the range: then another block under way may be a part of what is split anew.
        """
        if not self.may_split():
            self.late_insert = True
            self.rig.store.give_up = Crash() if kind == "crash" else Retryable("no answer")
            self.turn_or_restart(turns)
            self.rig.store.give_up = None

    @rule()
    def land_late(self) -> None:
        self.rig.store.land_late()
        self.late_insert = False

    @rule()
    def crash(self) -> None:
        self.rig.start()

    @rule()
    def forget_tokens(self) -> None:
        """Long after: what was on its way has arrived before the window moves on."""
        self.land_late()
        self.rig.store.forget_tokens()

    @rule(data=st.data(), checkpoints=st.booleans())
    def store_loses_what_it_had(self, data: st.DataObject, checkpoints: bool) -> None:
        """Rows, dead letters, perhaps the checkpoints; of events that are committed and still in the log."""
        store, log = self.rig.store, self.rig.log
        held = [n for n, value in enumerate(log.records[0][: log.progress[0].committed]) if value is not None]
        landed = sorted(({row.offset for row in store.rows} | {at for _, _, at in store.dead}).intersection(held))
        if landed:
            lost = data.draw(st.sets(st.sampled_from(landed), min_size=1))
            self.rig.lose(lambda each: each.offset in lost, checkpoints=checkpoints)

    @rule(turns=st.integers(0, 6))
    def recheck(self, turns: int) -> None:
        """The repair may be in its middle when the next rule comes."""
        if self.rig.repair.idle.is_set() and (gaps := self.rig.gaps()):
            self.rig.repair.request(gaps)
        self.rig.turn(turns, 1)

    @rule()
    def replay(self) -> None:
        self.rig.reader.replay(0)

    @rule()
    def second_owner(self) -> None:
        """The first one lives on and has not heard of it yet."""
        self.zombie = self.rig.processor
        self.rig.start()

    @rule(turns=st.integers(1, 4))
    def zombie_turns(self, turns: int) -> None:
        if self.zombie is not None:
            for _ in range(turns):
                self.zombie.step(0)

    @rule(place=st.sampled_from(["reserve.before", "reserve.after", "insert.before", "insert.after", "commit.before"]))
    def owner_freezes(self, place: str) -> None:
        """The owner stands still inside a call, while a second one takes over and finishes; then it wakes up.

        Not with a refused row in the range, as above.
        """
        if self.may_split():
            return
        frozen = self.rig.processor

        def take_over(name: str) -> None:
            if name == place:
                self.rig.clear_hooks()
                self.rig.start()
                self.rig.run_until_committed()

        self.rig.clear_hooks(take_over)
        self.rig.clock.advance(6)
        for _ in range(3):
            frozen.step(0)
        self.rig.clear_hooks()

    @invariant()
    def ledger_adds_up(self) -> None:
        progress = self.rig.log.progress[0]
        assert progress.committed - progress.start == progress.counts.total

    @invariant()
    def nothing_is_stored_twice(self) -> None:
        offsets = [row.offset for row in self.rig.store.rows] + [offset for _, _, offset in self.rig.store.dead]
        assert len(offsets) == len(set(offsets))

    def may_split(self) -> bool:
        """A refused row is ahead, or a split is open whose refused row the log has lost since."""
        log = self.rig.log
        return b"poison" in log.records[0][log.progress[0].committed :] or log.progress[0].attempt > 1

    def turn_or_restart(self, turns: int) -> None:
        try:
            self.rig.turn(turns, 1)
        except Crash:
            self.rig.start()
        self.rig.clear_hooks()

    def teardown(self) -> None:
        self.rig.clear_hooks()
        self.rig.run_until_committed()
        self.rig.store.land_late()
        self.rig.run_repair()
        self.rig.run_repair()  # what was lost while the first one ran
        self.rig.audit()


TestRanges = Ranges.TestCase
TestRanges.settings = settings(max_examples=300, stateful_step_count=30)
