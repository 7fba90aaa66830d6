"""The metadata of a commit, and where reading starts according to it and the topic's bounds.

In: the group's committed offset and metadata of a partition. Out: Progress, and the metadata of the next commit.
Errors: none; unreadable metadata does not stop a reader (invariant 4). Next: parsec.adapters.kafka.reader.

Invariants, cited by tests
 1. Metadata is at most 4,095 characters, the most that Kafka keeps by default.
 2. A committed offset counts only for the log it was committed for: a recreated topic is read from its beginning.
 3. A group without a commit starts at the first offset that is held.
 4. Unreadable metadata (another program's, none, a later version's) leaves the broker's offset and no counts: the
    ledger starts again there.
 5. When a log goes back (offsets that were read return with other content) it continues under a new id, `uuid~1`, so
    that the new content is not taken for repeats.
"""

import msgspec
from msgspec.structs import replace

from parsec.ports.broker import Counts, Progress, Range

METADATA_VERSION = 1
MAX_CHARACTERS = 4095
UNKNOWN_OFFSET = -1
"""For a log that may have gone back, by an unknown number of offsets."""


class OffsetBounds(msgspec.Struct, frozen=True):
    """Of a partition: the first offset that is held, the next to be written, the leader epoch of the first record."""

    low: int
    high: int
    low_epoch: int | None

    def replaced(self, offset: int, epoch: int | None) -> bool:
        """Whether the record at `offset`, written under this leader epoch, is certainly no longer the one there.

        Epochs only rise along a log: one that starts at or below `offset` with a later epoch has lost its content.
        """
        known = epoch is not None and self.low_epoch is not None and epoch >= 0
        return known and self.low <= offset and self.low_epoch > epoch  # type: ignore[operator]


class StartingPoint(msgspec.Struct, frozen=True):
    """Where reading of a partition starts. `leader_epoch`: of the record before it, None when unknown. `replaced`: the
    group's progress on a log that has gone back since; `progress` is then of its successor."""

    progress: Progress
    leader_epoch: int | None
    replaced: Progress | None = None


class CommitMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """The metadata as JSON. `counts`: stored, duplicate, dead, lost. The reserved range starts at the offset."""

    parsec: int
    log: str
    start: int
    counts: tuple[int, int, int, int] = (0, 0, 0, 0)
    reserved_last: int | None = None
    attempt: int = 0


_DECODER = msgspec.json.Decoder(CommitMetadata)


def encode_progress(progress: Progress) -> str:
    """The metadata to commit at `progress.committed` (invariant 1: six numbers of 19 digits, an id of 25)."""
    counts, reserved = progress.counts, progress.reserved
    metadata = CommitMetadata(
        METADATA_VERSION, progress.log_id, progress.start,
        (counts.stored, counts.duplicate, counts.dead, counts.lost), reserved.last if reserved else None,
        progress.attempt if reserved else 0,
    )  # fmt: skip
    return msgspec.json.encode(metadata).decode()


def decode_progress(topic_id: str, partition: int, offset: int, text: str | None, low: int) -> Progress:
    """The group's progress on a partition. `offset` below 0: it never committed; `low`: the first offset held."""
    if offset < 0:
        return Progress(topic_id, partition, low, low)
    try:
        metadata = _DECODER.decode(text or "")
    except msgspec.DecodeError:
        metadata = None
    if metadata is None or metadata.parsec != METADATA_VERSION:
        return Progress(topic_id, partition, offset, offset)
    if topic_id_of(metadata.log) != topic_id:
        return Progress(topic_id, partition, low, low)
    progress = Progress(metadata.log, partition, metadata.start, offset, Counts(*metadata.counts))
    if metadata.reserved_last is None or metadata.reserved_last < offset:
        return progress
    reserved = Range(metadata.log, partition, offset, metadata.reserved_last)
    return replace(progress, reserved=reserved, attempt=metadata.attempt)


def starting_point(
    committed: Progress, leader_epoch: int | None, bounds: OffsetBounds, replaced_from: int | None
) -> StartingPoint:
    """`leader_epoch`: of the last record below the commit. `replaced_from`: the offset from which the log has
    other content than before; UNKNOWN_OFFSET: it may have; None: it has not."""
    if bounds.replaced(committed.committed - 1, leader_epoch):
        replaced_from = bounds.low
    elif replaced_from is not None and replaced_from < 0:
        replaced_from = bounds.low if first_unstored(committed) > bounds.high else None
    if replaced_from is None or replaced_from >= first_unstored(committed):
        return StartingPoint(committed, leader_epoch)
    first = max(min(replaced_from, committed.committed), bounds.low)
    return StartingPoint(Progress(next_log_id(committed.log_id), committed.partition, first, first), None, committed)


def first_unstored(progress: Progress) -> int:
    """The first offset that cannot be in the store yet."""
    return max(progress.committed, progress.reserved.last + 1 if progress.reserved else 0)


def topic_id_of(log_id: str) -> str:
    return log_id.partition("~")[0]


def next_log_id(log_id: str) -> str:
    """The id of a log that has gone back (invariant 5)."""
    topic, _, times = log_id.partition("~")
    return f"{topic}~{int(times or 0) + 1}"
