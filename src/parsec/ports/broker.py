"""The durable log between ingest and processor: contracts for writing and reading.

Adapters: parsec.adapters.log.embedded (segment files), parsec.adapters.kafka.cluster, and for a Kafka that is away
parsec.adapters.spool.spool.
Next: parsec.process.loop.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from parsec.core.counts import Counts as Counts
from parsec.core.envelope import Envelope

READER = "processor"
"""The name under which the embedded log remembers how far the processor has read."""


class Group(msgspec.Struct, frozen=True, gc=False):
    """The valid events of one request or of several small ones: `lines` is encode_lines(events), never empty."""

    events: Sequence[Envelope]
    lines: bytes


class PartialPublish(msgspec.Struct, frozen=True):
    """What of a publish is not in the log, by the indexes of its groups; all other groups are.

    `spooled`: what is missing of these is durable on this machine, and gets into the log from there. `failed`: what is
    missing of these is in neither; only its sender can send it again, and `why` says what happened. The other fields
    say how many events, and bytes of lines, are missing of both, and how many events of those that failed.
    """

    spooled: frozenset[int]
    failed: frozenset[int]
    why: str
    missing_events: int
    missing_bytes: int
    failed_events: int


class LogWriter(Protocol):
    """Called from one worker thread."""

    def publish(self, groups: Sequence[Group]) -> PartialPublish | None:
        """Returns when the fate of every event of every group is known; None: all survive a power cut in the log.

        Raises Retryable: the fate of these groups is unknown, assume not written; the same groups may be given again
        and may then be in the log twice. Raises Fatal: no later call can succeed. After `close`: Fatal.
        """

    def refuses(self) -> str | None:
        """Why nothing can be made durable now (disk full, log full), as a sentence; None when it can.

        Cheap and never blocks: asked for every request, from any thread, before its body is read.
        """

    def close(self) -> None:
        """Releases files and locks; safe to call twice."""


class Range(msgspec.Struct, frozen=True):
    """Offsets first..last, both included, of one partition of one log."""

    log_id: str
    partition: int
    first: int
    last: int

    @property
    def token(self) -> str:
        """The name under which the store sees the block of this range."""
        return f"{self.log_id}/{self.partition}/{self.first}-{self.last}"


class Progress(msgspec.Struct, frozen=True):
    """What the broker remembers of one reader on one partition.

    `start`: the first offset ever given to this reader. `committed`: the next offset to read. `reserved`: the range
    whose insert was announced but not committed, if any; `attempt` counts how often it was announced.
    """

    log_id: str
    partition: int
    start: int
    committed: int
    counts: Counts = Counts()
    reserved: Range | None = None
    attempt: int = 0


class Assigned(msgspec.Struct, frozen=True):
    """From now on this reader owns the partition, under `epoch`, and reads on at `progress.committed`."""

    progress: Progress
    epoch: int


class Revoked(msgspec.Struct, frozen=True):
    """The epoch of this partition has ended: whatever was polled under it must be dropped."""

    partition: int


class Slice(msgspec.Struct, frozen=True):
    """Records of one partition in order of offset. `offsets[i]` is the offset of `values[i]` (one envelope's bytes).

    `next_offset` is where reading goes on. Every offset from `first` to it is in `offsets` or counted in `lost` (a bad
    frame, a missing segment, data expired before it was read, or a gap of unknown content), because the ledger is
    kept in offsets: next_offset - first = len(values) + lost. `first` is the `next_offset` of the slice before.
    `resent`: offsets whose sender did not know whether an earlier attempt arrived; the event may be in the log twice;
    a part of a slice may carry those of the whole.
    """

    log_id: str
    partition: int
    epoch: int
    first: int
    next_offset: int
    offsets: Sequence[int]
    values: Sequence[bytes]
    lost: int = 0
    resent: frozenset[int] = frozenset()

    @property
    def range(self) -> Range:
        return Range(self.log_id, self.partition, self.first, self.next_offset - 1)


class LogReader(Protocol):
    """Called from one thread, the processor's. Positions are per reader name; each partition has one owner."""

    def poll(self, max_wait_s: float, max_events: int, max_bytes: int) -> Slice | Assigned | Revoked | None:
        """The next thing that happened; None: nothing within max_wait_s. Only durable records are given.

        A slice has at most max_events records and about max_bytes (one frame or message may overshoot). It may be
        empty of records but not of offsets when offsets were lost. Raises Retryable or Fatal.
        """

    def reserve(self, taken: Range, epoch: int, attempt: int) -> None:
        """Durably announces that `taken` is about to be inserted.

        Raises Retryable, also when `epoch` has ended: nothing is announced then, and poll will say Revoked. Or Fatal.
        """

    def commit(self, partition: int, epoch: int, next_offset: int, counts: Counts) -> bool:
        """Durably moves the reader to next_offset with cumulative counts; ends the reservation.

        False, without effect, when `epoch` has ended. Raises Retryable or Fatal.
        """

    def pause(self, partition: int) -> None:
        """Until `resume` or the end of the epoch, poll gives no slice of this partition. All else goes on.

        Never blocks; twice, or for a partition not owned, is no error.
        """

    def resume(self, partition: int) -> None:
        """Undoes `pause`; reading goes on where it stood."""

    def ends(self) -> dict[int, int]:
        """Per owned partition the offset after the last durable record."""

    def close(self) -> None:
        """Leaves; safe to call twice."""
