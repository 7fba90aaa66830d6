"""The durable log between ingest and processor: the contracts of its writer and its reader.

A record of a partition has an offset. The *end* is the offset after the last durable record; the writer moves it. The
*committed* offset is where a reader continues: all below it is in the store. Between the two may be a *reservation*, a
range that the reader is about to insert; the log remembers it, so that a later owner finishes exactly that range. A
partition has one owner at a time, and each ownership an *epoch*; once that has ended, its commits have no effect.

Adapters: parsec.adapters.log.embedded (segment files), parsec.adapters.kafka.cluster (Kafka), and
parsec.adapters.spool.writer (Kafka, or segment files while it is unavailable). Next: parsec.process.loop.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from parsec.core.counts import Counts as Counts
from parsec.core.envelope import Envelope

READER = "processor"
"""The name under which the embedded log keeps the progress of the processor."""


class Group(msgspec.Struct, frozen=True, gc=False):
    """The valid events of one request, or of several small ones. `lines`: encode_lines(events). Never empty."""

    events: Sequence[Envelope]
    lines: bytes


class PartialPublish(msgspec.Struct, frozen=True):
    """The groups, by index, of which some events are not in the log; all other groups are.

    `spooled`: these events are durable on this machine and will be published from there. `failed`: these are nowhere;
    only the sender can send them again, and `why` is the reason. `missing_events` and `missing_bytes` count the events
    of both, and the bytes of their lines; `failed_events` those that failed.
    """

    spooled: frozenset[int]
    failed: frozenset[int]
    why: str
    missing_events: int
    missing_bytes: int
    failed_events: int


class LogWriter(Protocol):
    """Used by one worker thread. After `close` every publish raises Fatal."""

    def publish(self, groups: Sequence[Group]) -> PartialPublish | None:
        """Blocks until the fate of every event is known. None: all are in the log and survive a power cut.

        Raises Retryable: assume that the groups were not written; if they are published again, the log may have their
        events twice. Raises Fatal: no later call can succeed.
        """

    def refuses(self) -> str | None:
        """The reason why nothing can be made durable now (disk full, log full), as a sentence; None: it can.

        Never blocks: called from any thread for every request, before its body is read.
        """

    def close(self) -> None:
        """Releases files and locks; safe to call twice."""


class KafkaHealth(msgspec.Struct, frozen=True):
    """Whether Kafka answers. `why`: why not. `last_ack_age_s`: None before the first acknowledgement;
    `last_failure_age_s`: since the last publish failed, None unless it failed after that.

    `needs_help`: an operator must do as `why` says; waiting is not enough.
    """

    connected: bool
    why: str | None
    last_ack_age_s: float | None
    needs_help: bool = False
    last_failure_age_s: float | None = None


class Range(msgspec.Struct, frozen=True):
    """Offsets first..last, both included, of one partition of one log."""

    log_id: str
    partition: int
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.log_id}/{self.partition}/{self.first}-{self.last}"


class Progress(msgspec.Struct, frozen=True):
    """The progress of one reader on one partition, as the log remembers it.

    `start`: the first offset ever given to this reader. `committed`: the next offset to read. `reserved`: the open
    reservation, if there is one; `attempt`: how often it was made.
    """

    log_id: str
    partition: int
    start: int
    committed: int
    counts: Counts = Counts()
    reserved: Range | None = None
    attempt: int = 0


class Assigned(msgspec.Struct, frozen=True):
    """This reader owns the partition from now on, under `epoch`, and continues at `progress.committed`."""

    progress: Progress
    epoch: int


class Revoked(msgspec.Struct, frozen=True):
    """The epoch of this partition has ended: all that was polled under it must be dropped."""

    partition: int


class Slice(msgspec.Struct, frozen=True):
    """Consecutive records of one partition. `offsets[i]` is the offset of `values[i]`, the bytes of one envelope.

    The ledger counts offsets, so each one from `first` to `next_offset`, where reading continues, is in `offsets` or
    counted in `lost` (a bad frame, a missing segment, expired data, a gap): next_offset - first = len(values) + lost.
    `first` is the `next_offset` of the slice before. `resent`: offsets of events that may be in the log twice, since
    their sender did not know whether an earlier attempt arrived; a part of a slice may have those of the whole.
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
    """Used by one thread, the processor's. Every method may raise Fatal; the caller repeats one that raises Retryable.

    Progress is kept per reader name.
    """

    def poll(self, max_wait_s: float, max_events: int, max_bytes: int) -> Slice | Assigned | Revoked | None:
        """The next slice or change of ownership; None: nothing within max_wait_s. Only durable records are returned.

        A slice has at most max_events records and about max_bytes (one frame or message may exceed it). It may have no
        records, but then has lost offsets. Raises Retryable.
        """

    def reserve(self, taken: Range, epoch: int, attempt: int) -> None:
        """Makes a durable reservation of `taken`, which is about to be inserted.

        Raises Retryable, also when `epoch` has ended: then nothing is reserved, and a poll returns Revoked.
        """

    def commit(self, partition: int, epoch: int, next_offset: int, counts: Counts) -> bool:
        """Durably commits next_offset with the cumulative counts, and ends the reservation.

        False, without effect, when `epoch` has ended. Raises Retryable.
        """

    def read_again(self, span: Range, max_events: int, max_bytes: int) -> Slice | None:
        """Committed records of a range once more, from its first offset on; `poll` goes on where it was.

        The slice is bounded as those of `poll`, and is never empty: offsets of which nothing is left count as lost.
        None: this reader does not own the partition, or it is of another log. Raises Retryable.
        """

    def keep_committed(self, keep: bool) -> None:
        """While `keep` is set, committed records that may have to be read again are kept as long as there is room, if
        the log decides about that. From any thread.
        """

    def pause(self, partition: int) -> None:
        """Polls return no slice of this partition until `resume`, or the end of the epoch.

        Never blocks. Repeated calls, and partitions that are not owned, are ignored.
        """

    def resume(self, partition: int) -> None:
        """Undoes `pause`; no record is skipped."""

    def ends(self) -> dict[int, int]:
        """The end of each owned partition."""

    def close(self) -> None:
        """Gives up all partitions; safe to call twice."""
