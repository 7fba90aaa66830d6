"""A processor on memory adapters that can be crashed and started again, and the audit of what came out.

Records are their own message: one that begins with `dead` becomes a dead letter, with `poison` a row that the store
refuses, with `id:` a row that has this text as its id; every other row's id is its own. What stands behind an @ is
the tenant.
"""

from collections.abc import Callable

from parsec.adapters.local.dedup import LocalDedup
from parsec.api.repair import StoreGap
from parsec.core.timestamp import DAY
from parsec.ports.broker import Progress, Slice
from parsec.ports.dedup import Window
from parsec.ports.store import DeadLetter, LedgerCheckpoint, Row
from parsec.process.batching import InsertLimits
from parsec.process.claims import Claims
from parsec.process.loop import Options, Processor
from parsec.process.lost_records import LostRecords
from parsec.process.repair import Repair
from parsec.telemetry import Telemetry
from tests.support.manual_clock import ManualClock
from tests.support.memory_log import MemoryLog, MemoryReader
from tests.support.memory_store import MemoryStore

LIMITS = InsertLimits(max_events=8, max_bytes=1000, linger_s=0.5)
WINDOW = Window(600.0, 10_000)


class Crash(BaseException):
    """kill -9: nothing of the process handles it."""


class FixedRandom:
    def bytes(self, n: int) -> bytes:
        return b"\x80" * n


def make_rows(taken: Slice) -> tuple[list[Row], list[DeadLetter]]:
    rows, letters = [], []
    for offset, value in zip(taken.offsets, taken.values, strict=True):
        text = value.decode()
        place = (taken.log_id, taken.partition, offset)
        if text.startswith("dead"):
            letters.append(DeadLetter(*place, "acme", "not_an_envelope", "no JSON", value))
        else:
            at = 1_800_000_000_000_000_000
            name = text if text.startswith("id:") else f"e{taken.partition}-{offset}"
            tenant = text.partition("@")[2] or "acme"
            rows.append(Row(tenant, at, "info", "api", text, "{}", name, at, "r", "n", *place, 20_800))
    return rows, letters


class Rig:
    """Log, store and clock outlive the processor of the moment."""

    def __init__(self, partitions: int = 1, limits: InsertLimits = LIMITS) -> None:
        self.log = MemoryLog(partitions)
        self.store = MemoryStore(refuses=lambda row: row.message.startswith("poison"))
        self.clock = ManualClock()
        self.telemetry = Telemetry()
        self.limits = limits
        self.largest = 1_000_000
        self.committed: list[int] = []
        """Records that were committed at each call of on_commit."""
        self.processor, self.reader = self.start()

    def start(self) -> tuple[Processor, MemoryReader]:
        """A new owner of all partitions; what was there before is never stepped again unless kept by the caller."""
        self.reader = self.log.reader(*range(len(self.log.records)))
        self.reader.largest = self.largest
        self.dedup = LocalDedup(WINDOW, self.telemetry, self.clock)
        lost = LostRecords(self.reader.read_again, self.store, make_rows, WINDOW)
        self.repair = Repair(lost, self.store, self.telemetry, self.clock, FixedRandom())
        self.claims = Claims(self.dedup, self.store, WINDOW, self.telemetry, self.repair.lost_rows, self.repair.restore)
        options = Options(make_rows, self.limits, on_commit=self._note_commit, repair=self.repair)
        self.processor = Processor(
            self.reader, self.store, self.claims, options, self.telemetry, self.clock, FixedRandom()
        )
        return self.processor, self.reader

    def _note_commit(self) -> None:
        self.committed.append(sum(self.processor.positions().values()))

    def on(self, place: str, error: BaseException, times: int = 1) -> None:
        """The first `times` calls of a hook of log or store raise."""
        left = [times]

        def hook(name: str) -> None:
            if name == place and left[0] > 0:
                left[0] -= 1
                raise error

        self.log.hook = self.store.hook = hook

    def clear_hooks(self, hook: Callable[[str], None] = lambda _: None) -> None:
        self.log.hook = self.store.hook = hook

    def turn(self, times: int = 1, seconds: float = 0.0) -> None:
        for _ in range(times):
            self.clock.advance(seconds)
            self.processor.step(0)

    def run_until_committed(self, turns: int = 2000) -> None:
        """Takes turns until all is committed."""
        for _ in range(turns):
            if all(p.committed == len(r) for p, r in zip(self.log.progress, self.log.records, strict=True)):
                return
            self.turn(1, self.limits.linger_s)
        raise AssertionError("the processor does not finish its work")

    def lose(self, lost: Callable[[Row | DeadLetter], bool], *, checkpoints: bool = False) -> None:
        """The store loses rows and dead letters, and perhaps its checkpoints. The tokens are still known."""
        self.store.rows = [row for row in self.store.rows if not lost(row)]
        self.store.dead = {at: letter for at, letter in self.store.dead.items() if not lost(letter)}
        if checkpoints:
            self.store.marks.clear()

    def gaps(self) -> list[StoreGap]:
        """What the store lacks, as parsec.query.audit finds it."""
        gaps = []
        for progress in self.log.progress:
            number = progress.partition
            stored = sum(row.partition == number and row.offset < progress.committed for row in self.store.rows)
            dead = sum(part == number and at < progress.committed for _, part, at in self.store.dead)
            begun = any((m.partition, m.committed) == (number, progress.start) for m in self.store.marks)
            rows, letters = progress.counts.stored - stored, progress.counts.dead - dead
            if rows > 0 or letters > 0 or (progress.committed and not begun):
                end = progress.committed
                gaps.append(StoreGap(number, self.log.log_id, 0, end, rows, letters, first_checkpoint=begun))
        return gaps

    def run_repair(self, turns: int = 2000) -> None:
        """Compares, and takes turns until all that the log has is stored again."""
        gaps = self.gaps()
        if gaps:
            self.repair.request(gaps)
        self._run_until_idle(turns)
        for gap in gaps:
            if not gap.first_checkpoint:
                start = self.log.progress[gap.partition].start
                first = LedgerCheckpoint(self.log.log_id, gap.partition, start, start, 0, 0, 0, 0, 0)
                self.repair.save([first])
        self._run_until_idle(turns)

    def _run_until_idle(self, turns: int) -> None:
        for _ in range(turns):
            if self.repair.idle.is_set():
                return
            self.turn(1, 1)
        raise AssertionError("the repair does not end")

    def audit(self) -> None:
        """Each record that is not lost is stored, dead or a duplicate exactly once, and the ledger says just that."""
        for progress, records in zip(self.log.progress, self.log.records, strict=True):
            stored = sorted(row.offset for row in self.store.rows if row.partition == progress.partition)
            dead = sorted(at for _, number, at in self.store.dead if number == progress.partition)
            landed = sorted(stored + dead)
            assert landed == sorted(set(landed)), "a record landed twice"
            ids = {row.message for row in self.store.rows if row.id.startswith("id:")}
            assert len([row for row in self.store.rows if row.id in ids]) == len(ids), "an id is stored twice"
            away = {at for at, value in enumerate(records) if value is not None} - set(landed)
            assert all((records[at] or b"").decode() in ids for at in away), "a record is missing"
            counts = progress.counts
            assert progress.committed - progress.start == counts.total
            assert (counts.stored, counts.dead) == (len(stored), len(dead))
            assert counts.lost + counts.duplicate == len(records) - len(landed)
            self._audit_marks(progress, stored, dead)

    def _audit_marks(self, progress: Progress, stored: list[int], dead: list[int]) -> None:
        """From mark to mark the store has what the ledger says, and nothing that leaves earlier than promised."""
        marks = [mark for mark in self.store.marks if mark.partition == progress.partition]
        begun = max((n for n, mark in enumerate(marks) if mark.committed == mark.start), default=0)
        kept = sorted({mark.committed: mark for mark in marks[begun:]}.values(), key=lambda mark: mark.committed)
        assert not kept or kept[0].committed == progress.start, "what is stored first has no mark before it"
        if not kept:
            assert progress.committed == progress.start
            return
        ends = [(mark.committed, mark.stored, mark.dead) for mark in kept[1:]]
        ends.append((progress.committed, progress.counts.stored, progress.counts.dead))
        for mark, (end, stored_then, dead_then) in zip(kept, ends, strict=True):
            assert stored_then - mark.stored == sum(mark.committed <= offset < end for offset in stored)
            assert dead_then - mark.dead == sum(mark.committed <= offset < end for offset in dead)
            since = [r for r in self.store.rows if r.partition == mark.partition and mark.committed <= r.offset < end]
            assert all(row.expires_on >= mark.expires_from for row in since)
            assert all(row.received_at // DAY >= mark.received_from for row in since)
