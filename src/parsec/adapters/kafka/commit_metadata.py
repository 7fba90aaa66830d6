"""What a commit's metadata carries, and from it and the topic's bounds where reading begins.

In: the group's committed offset and metadata of a partition. Out: Progress, and the metadata of the next commit.
Errors: none; metadata that is not ours is no reason to stop (invariant 4). Next: parsec.adapters.kafka.reader.

Invariants, cited by tests
 1. Metadata is at most 4,095 characters, the most that Kafka keeps by default.
 2. A committed offset counts only for the log it was committed for: a topic made again is read from its begin.
 3. A group without a commit begins at the first offset that is held.
 4. Metadata that nobody can read (another program's, none, a later version's) leaves the broker's offset and no counts:
    the ledger begins anew there.
 5. When a log goes back (offsets that were read come back with other content) it goes on under a new id, `uuid~1`, so
    that the new content is nobody's repeat.
"""

import msgspec

from parsec.ports.broker import Counts, Progress, Range

VERSION = 1
MOST_CHARACTERS = 4095
SOMEWHERE = -1
"""Of a log that may have gone back: it is not known how far."""


class OffsetBounds(msgspec.Struct, frozen=True):
    """Of a partition: the first offset that is held, the next to be written, the leader's epoch of the first record."""

    low: int
    high: int
    low_epoch: int | None

    def replaced(self, offset: int, epoch: int | None) -> bool:
        """Whether the record at `offset`, which was of this leader's epoch, cannot be the one that is there now.

        Epochs only rise along a log. One that begins at or below `offset` with a later epoch has lost its content.
        """
        known = epoch is not None and self.low_epoch is not None and epoch >= 0
        return known and self.low <= offset and self.low_epoch > epoch  # type: ignore[operator]


class Begin(msgspec.Struct, frozen=True):
    """Where a partition is read on. `leader_epoch`: of the record before, None: not known. `was`: what the group had
    committed of a log that has gone back since, so that `progress` is of another."""

    progress: Progress
    leader_epoch: int | None
    was: Progress | None = None


class CommitMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """The metadata, as JSON. `counts`: stored, duplicate, dead, lost. `reserved`: the range begins at the offset."""

    parsec: int
    log: str
    start: int
    counts: tuple[int, int, int, int] = (0, 0, 0, 0)
    reserved_last: int | None = None
    attempt: int = 0


_DECODER = msgspec.json.Decoder(CommitMetadata)


def metadata(progress: Progress) -> str:
    """What to commit at `progress.committed` (invariant 1: six numbers of 19 digits and an id of 25 characters)."""
    counts = progress.counts
    reserved = progress.reserved
    note = CommitMetadata(
        VERSION,
        progress.log_id,
        progress.start,
        (counts.stored, counts.duplicate, counts.dead, counts.lost),
        reserved.last if reserved else None,
        progress.attempt if reserved else 0,
    )
    return msgspec.json.encode(note).decode()


def progress_from(topic_id: str, partition: int, offset: int, text: str | None, low: int) -> Progress:
    """Where a reader of this partition stands. `offset` below 0: the group never committed; `low`: the first held."""
    if offset < 0:
        return Progress(topic_id, partition, low, low)
    note = _read(text)
    if note is None:
        return Progress(topic_id, partition, offset, offset)
    if topic_of(note.log) != topic_id:
        return Progress(topic_id, partition, low, low)
    reserved = None
    if note.reserved_last is not None and note.reserved_last >= offset:
        reserved = Range(note.log, partition, offset, note.reserved_last)
    return Progress(
        note.log,
        partition,
        note.start,
        offset,
        Counts(*note.counts),
        reserved,
        note.attempt if reserved else 0,
    )


def begin(committed: Progress, leader_epoch: int | None, bounds: OffsetBounds, other_from: int | None) -> Begin:
    """`leader_epoch`: of the last record below the commit. `other_from`: from this offset on the log is said to have
    other content than it had (SOMEWHERE: perhaps), None: it is not."""
    if bounds.replaced(committed.committed - 1, leader_epoch):
        other_from = bounds.low
    elif other_from is not None and other_from < 0:
        other_from = bounds.low if touched(committed) > bounds.high else None
    if other_from is None or other_from >= touched(committed):
        return Begin(committed, leader_epoch)
    first = max(min(other_from, committed.committed), bounds.low)
    return Begin(Progress(went_back(committed.log_id), committed.partition, first, first), None, committed)


def touched(progress: Progress) -> int:
    """The first offset of which nothing can be in the store yet."""
    return max(progress.committed, progress.reserved.last + 1 if progress.reserved else 0)


def topic_of(log_id: str) -> str:
    """The topic's id in a log's."""
    return log_id.partition("~")[0]


def went_back(log_id: str) -> str:
    """The id under which a log goes on that lost its end (invariant 5)."""
    topic, _, times = log_id.partition("~")
    return f"{topic}~{int(times or 0) + 1}"


def _read(text: str | None) -> CommitMetadata | None:
    try:
        note = _DECODER.decode(text or "")
    except msgspec.DecodeError:
        return None
    return note if note.parsec == VERSION else None
