"""The durable log in memory: LogReader with several owners, lost offsets, and a hook around every durable call.

The log object outlives its readers, as files outlive a process: a crash is a reader that is simply never used again.
"""

from collections import deque
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from parsec.core.errors import Retryable
from parsec.ports.broker import Assigned, Counts, Progress, Range, Revoked, Slice

Hook = Callable[[str], None]
"""Called with `reserve.before`, `reserve.after` and the like. What it raises comes out of the call."""


def no_hook(_: str) -> None:
    """Nothing goes wrong."""


class MemoryLog:
    """Partitions of records by offset; None is a record that was lost. `calls` notes every durable call."""

    def __init__(self, partitions: int = 1, log_id: str = "log") -> None:
        self.log_id = log_id
        self.records: list[list[bytes | None]] = [[] for _ in range(partitions)]
        self.progress = [Progress(log_id, number, 0, 0) for number in range(partitions)]
        self.hook: Hook = no_hook
        self.calls: list[str] = []
        self._owners: dict[int, MemoryReader] = {}
        self._epochs = 0

    def append(self, *values: bytes, partition: int = 0) -> None:
        self.records[partition] += values

    def lose(self, first: int, last: int, partition: int = 0) -> None:
        """Offsets first..last held events and hold them no more."""
        self.records[partition][first : last + 1] = [None] * (last + 1 - first)

    def reader(self, *partitions: int) -> "MemoryReader":
        """A new reader that owns these partitions; their former owners will be told Revoked."""
        reader = MemoryReader(self)
        for partition in partitions:
            self.assign(partition, reader)
        return reader

    def assign(self, partition: int, reader: "MemoryReader") -> None:
        self._epochs += 1
        former = self._owners.get(partition)
        if former is not None:
            former.told.append(Revoked(partition))
        self._owners[partition] = reader
        reader.told.append(Assigned(self.progress[partition], self._epochs))
        reader.epochs[partition] = self._epochs

    def owns(self, reader: "MemoryReader", partition: int, epoch: int) -> bool:
        return self._owners.get(partition) is reader and reader.epochs.get(partition) == epoch


class MemoryReader:
    """LogReader on a MemoryLog. Never waits. `largest` bounds a slice, as a frame or a fetch does."""

    def __init__(self, log: MemoryLog) -> None:
        self.told: deque[Assigned | Revoked] = deque()
        self.epochs: dict[int, int] = {}
        self.paused: set[int] = set()
        self.keeps_committed = False
        self.largest = 1_000_000
        self.closed = False
        self._log = log
        self._at: dict[int, int] = {}

    def poll(self, max_wait_s: float, max_events: int, max_bytes: int) -> Slice | Assigned | Revoked | None:
        del max_wait_s  # nothing ever comes while one waits
        self._log.hook("poll.before")
        if self.told:
            return self._tell(self.told.popleft())
        for partition in sorted(self._at):
            if partition not in self.paused and self._at[partition] < len(self._log.records[partition]):
                return self._slice(partition, min(max_events, self.largest), max_bytes)
        return None

    def replay(self, partition: int) -> None:
        """Gives records since the last commit again, as a consumer does after some rebalances."""
        if partition in self._at:
            self._at[partition] = self._log.progress[partition].committed

    def reserve(self, taken: Range, epoch: int, attempt: int) -> None:
        self._log.hook("reserve.before")
        if not self._log.owns(self, taken.partition, epoch):
            raise Retryable("the epoch has ended")
        self._log.calls.append(f"reserve {taken.first}-{taken.last} {attempt}")
        progress = self._log.progress
        progress[taken.partition] = replace(progress[taken.partition], reserved=taken, attempt=attempt)
        self._log.hook("reserve.after")

    def commit(self, partition: int, epoch: int, next_offset: int, counts: Counts) -> bool:
        self._log.hook("commit.before")
        if taken := self._log.owns(self, partition, epoch):
            self._log.calls.append(f"commit {next_offset}")
            old = self._log.progress[partition]
            self._log.progress[partition] = Progress(old.log_id, partition, old.start, next_offset, counts)
        self._log.hook("commit.after")
        return taken

    def read_again(self, span: Range, max_events: int, max_bytes: int) -> Slice | None:
        self._log.hook("read_again.before")
        is_ours = span.log_id == self._log.log_id and span.partition in self._at
        if not is_ours or not self._log.owns(self, span.partition, self.epochs[span.partition]):
            return None
        return self._slice(span.partition, min(max_events, self.largest), max_bytes, span.first, span.last + 1)

    def keep_committed(self, keep: bool) -> None:
        self.keeps_committed = keep

    def pause(self, partition: int) -> None:
        self.paused.add(partition)

    def resume(self, partition: int) -> None:
        self.paused.discard(partition)

    def ends(self) -> dict[int, int]:
        return {partition: len(self._log.records[partition]) for partition in self._at}

    def close(self) -> None:
        self.closed = True

    def _tell(self, event: Assigned | Revoked) -> Assigned | Revoked:
        if isinstance(event, Assigned):
            self._at[event.progress.partition] = event.progress.committed
            self.paused.discard(event.progress.partition)
        else:
            self._at.pop(event.partition, None)
        return event

    def _slice(
        self, partition: int, max_events: int, max_bytes: int, first: int | None = None, end: int | None = None
    ) -> Slice:
        """From where the reader is or, without moving it, the records first..end-1."""
        at = begin = self._at[partition] if first is None else first
        records: Sequence[bytes | None] = self._log.records[partition][:end]
        offsets: list[int] = []
        values: list[bytes] = []
        while at < len(records) and len(values) < max_events and sum(map(len, values)) < max_bytes:
            value = records[at]
            if value is not None:
                offsets.append(at)
                values.append(value)
            at += 1
        if first is None:
            self._at[partition] = at
        epoch = self.epochs[partition]
        return Slice(self._log.log_id, partition, epoch, begin, at, offsets, values, at - begin - len(values))
