"""The topic for the processor: a member of the consumer group that owns partitions under epochs of its own.

In: what the group coordinator and the partitions say. Out: assignments, revocations, slices; reservations and counts
in the metadata of commits. Errors: Retryable while Kafka does not answer, Fatal once closed.
Next: parsec.process.loop.

Invariants, cited by tests
 1. One thread: the driver calls back only inside `poll`, `reserve`, `commit` and `close`, and a partition is another's
    only after its last commit was answered.
 2. An epoch ends when the partition is revoked or lost, when the topic has another id, when its log went back, and when
    nothing was polled for `max.poll.interval.ms`. Then nothing of it is committed, whatever the broker would accept.
 3. A record is given only after the topic was found to have the id of its epoch, asked after the record was fetched: of
    a topic made again the driver gives the new records under the old positions, without a word.
 4. Reading begins where the group's commits and their metadata say, never where the driver would like to.
 5. A driver that hangs (parsec.adapters.kafka.hang_detector) is told anew where to begin, and replaced if that does
    not help. All epochs end with it.

The protocol is cooperative: a rebalance leaves the partitions that stay with their reader alone, batches in hand and
open reservations included, and a partition changes hands only after its old reader has heard of it. With the eager one
each rebalance would end all epochs of all readers and make each batch in hand a doubtful one.
"""

from collections import deque
from collections.abc import Iterable

import structlog
from confluent_kafka import KafkaError, Message, TopicPartition
from msgspec.structs import replace

from parsec.adapters.kafka import config
from parsec.adapters.kafka.buffer import AssignedPartition
from parsec.adapters.kafka.commit_metadata import SOMEWHERE, OffsetBounds, begin, progress_from
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.consumer import KafkaConsumer
from parsec.adapters.kafka.errors import translated
from parsec.adapters.kafka.hang_detector import HangDetector
from parsec.adapters.kafka.producer import MAYBE_DUPLICATE
from parsec.adapters.kafka.topic import KafkaTopic
from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Assigned, Counts, Progress, Range, Revoked, Slice

_log = structlog.get_logger(__name__)

ASK_TIMEOUT_S = 2.0
CHECK_EVERY_S = 5.0
"""How often an idle reader looks whether the topic was made again, and how far paused partitions have grown."""
LONGEST_WAIT_S = 0.1
"""The driver goes on waiting for a record after it has called back, so news of partitions would come this late."""
_ABOUT_POSITIONS = frozenset((KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION))


class KafkaReader:
    """A LogReader. Called from one thread."""

    def __init__(self, options: KafkaOptions, topic: KafkaTopic, clock: Clock) -> None:
        """Joins the group in the background. Raises Fatal for options that librdkafka does not know."""
        self._options = options
        self._topic = topic
        self._clock = clock
        self._max_silence_s = config.max_poll_interval_s(options)
        self._owned: dict[int, AssignedPartition] = {}
        self._starting: dict[int, int | None] = {}  # from which offset on the log is another; None: it is the same
        self._told: deque[Assigned | Revoked] = deque()
        self._epoch = 0
        self._topic_id = ""
        self._unchecked = False
        self._trouble: KafkaError | None = None
        self._closed = False
        self._suspicion = HangDetector()
        self._polled_at = self._checked_at = clock.monotonic()
        self._consumer = KafkaConsumer(options, clock, self._on_assign, self._on_revoke)

    def poll(self, max_wait_s: float, max_events: int, max_bytes: int) -> Slice | Assigned | Revoked | None:
        if self._closed:
            raise Fatal("the Kafka reader is closed")
        until = self._clock.monotonic() + max_wait_s
        happened = self._ready(max_events, max_bytes)
        while happened is None:
            left_s = max(0.0, until - self._clock.monotonic())
            self._turn(min(left_s, LONGEST_WAIT_S), max_events, max_bytes)
            happened = self._ready(max_events, max_bytes)
            if left_s == 0:
                break
        return happened

    def reserve(self, taken: Range, epoch: int, attempt: int) -> None:
        owned = self._of_epoch(taken.partition, epoch)
        if owned is None:
            raise Retryable("the epoch of this partition has ended")
        self._commit(owned, replace(owned.progress, committed=taken.first, reserved=taken, attempt=attempt))
        if self._of_epoch(taken.partition, epoch) is None:
            raise Retryable("the epoch of this partition ended meanwhile")

    def commit(self, partition: int, epoch: int, next_offset: int, counts: Counts) -> bool:
        owned = self._of_epoch(partition, epoch)
        if owned is None:
            return False
        self._commit(owned, replace(owned.progress, committed=next_offset, counts=counts, reserved=None, attempt=0))
        return True

    def pause(self, partition: int) -> None:
        owned = self._owned.get(partition)
        if owned is not None and not owned.paused:
            owned.paused = True
            self._consumer.pause(partition)

    def resume(self, partition: int) -> None:
        owned = self._owned.get(partition)
        if owned is not None and owned.paused:
            owned.paused = False
            self._consumer.resume(partition)

    def ends(self) -> dict[int, int]:
        for partition, owned in self._owned.items():
            owned.high = max(owned.high, owned.buffer.expected, self._consumer.high(partition))
        return {partition: owned.high for partition, owned in self._owned.items()}

    @property
    def buffered_bytes(self) -> int:
        """Of records that were fetched and not yet given; a pause stops it from growing."""
        return sum(owned.buffer.bytes for owned in self._owned.values())

    def hurry(self) -> None:
        """From any thread: the process ends, so nothing waits any more for a Kafka that does not answer."""
        self._consumer.hurry()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._consumer.close()

    def _turn(self, max_wait_s: float, max_events: int, max_bytes: int) -> None:
        """What has arrived is taken in, and what it asks for is done. Raises Retryable, Fatal."""
        self._replace_if_it_hangs()
        busy = self._unchecked or bool(self._starting)
        for message in self._consumer.messages(0.0 if busy else max_wait_s, max_events, max_bytes):
            self._take(message)
        self._polled_at = self._clock.monotonic()
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise translated(trouble, "Kafka could not be read")
        self._start()
        self._check()

    def _ready(self, max_events: int, max_bytes: int) -> Slice | Assigned | Revoked | None:
        """What is at hand: news of partitions first, then records of each partition in turn."""
        if self._told:
            return self._told.popleft()
        if self._unchecked:
            return None
        for partition, owned in self._owned.items():
            if owned.buffer.filled and not owned.paused:
                piece = owned.buffer.take(max_events, max_bytes)
                self._owned[partition] = self._owned.pop(partition)
                if piece.lost:
                    _log.error("Offsets of the topic hold no record: expired, compacted, or of a transaction.",
                               offsets=piece.lost, range=piece.range.token)  # fmt: skip
                return piece
        return None

    def _take(self, message: Message) -> None:
        """A record, or what the driver has to say, which comes as a message, too."""
        error, partition, offset = message.error(), message.partition(), message.offset()
        owned = None if partition is None else self._owned.get(partition)
        if owned is None or partition is None or offset is None:
            if error is not None and error.code() not in _ABOUT_POSITIONS:
                self._trouble = error
        elif error is None:
            owned.buffer.add(offset, message.value() or b"", message.leader_epoch())
            headers = message.headers()
            if headers and any(header[0] == MAYBE_DUPLICATE for header in headers):
                owned.buffer.add_resent(offset)
            self._unchecked = True
        elif error.code() == KafkaError._PARTITION_EOF:
            if offset > owned.buffer.expected:
                owned.buffer.nothing_before(offset)
                self._unchecked = True
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION):
            _log.warning("A position in the topic is gone.", partition=partition, offset=owned.buffer.expected,
                         why=error.str())  # fmt: skip
            self._end([partition])
            self._starting[partition] = offset if error.code() == KafkaError._LOG_TRUNCATION else SOMEWHERE
        else:
            self._trouble = error

    def _on_assign(self, partitions: list[int]) -> None:
        self._starting |= dict.fromkeys(partitions)

    def _on_revoke(self, partitions: list[int]) -> None:
        self._end(partitions)
        for partition in partitions:
            self._starting.pop(partition, None)

    def _end(self, partitions: Iterable[int]) -> None:
        """Epochs end here and nowhere else. Who was not told of the begin is not told of the end."""
        for partition in partitions:
            self._suspicion.forget(partition)
            if self._owned.pop(partition, None) is not None:
                untold = [e for e in self._told if isinstance(e, Assigned) and e.progress.partition == partition]
                for event in untold:
                    self._told.remove(event)
                if not untold:
                    self._told.append(Revoked(partition))

    def _start(self) -> None:
        """Finds out where the partitions that were given to us begin, and begins. Raises Retryable."""
        if not self._starting:
            return
        self._identify(self._topic.log_id(ASK_TIMEOUT_S))
        partitions = list(self._starting)
        self._consumer.stop_fetching(partitions)
        bounds = self._topic.bounds(partitions, ASK_TIMEOUT_S)
        for place in self._consumer.committed(partitions, ASK_TIMEOUT_S):
            if place.partition in bounds and place.partition in self._starting:
                self._begin(place, bounds[place.partition])
        if self._starting:
            raise Retryable(f"partitions {sorted(self._starting)} have no leader yet")

    def _begin(self, place: TopicPartition, bounds: OffsetBounds) -> None:
        partition = place.partition
        committed = progress_from(self._topic_id, partition, place.offset, place.metadata, bounds.low)
        found = begin(committed, place.leader_epoch, bounds, self._starting[partition])
        progress = found.progress
        if found.was is not None:
            _log.error("Records that were committed are gone from a partition; it is read on as a new log.",
                       was=found.was, first=progress.start, log_id=progress.log_id)  # fmt: skip
            self._consumer.commit(progress, None)
            if partition not in self._starting:
                return  # it was taken away meanwhile
        self._epoch += 1
        self._consumer.fetch(partition, max(progress.committed, bounds.low), found.leader_epoch)
        owned = self._owned[partition] = AssignedPartition(progress, self._epoch, bounds.high)
        owned.buffer.known_leader(progress.committed - 1, found.leader_epoch)
        del self._starting[partition]
        self._told.append(Assigned(progress, self._epoch))

    def _check(self) -> None:
        """Invariants 3 and 5. Raises Retryable; what was fetched stays unchecked then."""
        now = self._clock.monotonic()
        due = now - self._checked_at >= CHECK_EVERY_S
        if not (self._unchecked or due):
            return
        self._identify(self._topic.log_id(ASK_TIMEOUT_S))
        self._unchecked = False
        if not due:
            return
        self._checked_at = now
        if not self._owned:
            self._suspicion.heard(answered=self._consumer.hears(ASK_TIMEOUT_S))
            return
        for partition, bounds in self._topic.bounds(self._owned, ASK_TIMEOUT_S).items():
            self._look_at(partition, self._owned[partition], bounds)

    def _look_at(self, partition: int, owned: AssignedPartition, bounds: OffsetBounds) -> None:
        """The driver says nothing of the end of a paused partition, nor when all of a log was replaced."""
        at, leader = owned.buffer.expected, owned.buffer.last_leader
        if bounds.replaced(at - 1, leader) or bounds.high < at:
            self._end([partition])
            self._starting[partition] = SOMEWHERE
            return
        owned.high = max(owned.high, bounds.high)
        waits = bounds.high > at and not owned.paused and not owned.buffer.filled
        if self._suspicion.stands_still(partition, at, waits=waits):
            _log.warning("The driver gives nothing of a partition that has more; it is told anew where to begin.",
                         partition=partition, offset=at, end=owned.high)  # fmt: skip
            self._consumer.stop_fetching([partition])
            self._consumer.fetch(partition, at, leader)

    def _replace_if_it_hangs(self) -> None:
        """Invariant 5. The driver that is left behind no longer calls back."""
        why = self._suspicion.hangs(self._consumer.unanswered_s)
        if why is None:
            return
        _log.error("The Kafka client hangs and is replaced; what it had in hand is read again.", why=why)
        self._end(list(self._owned))
        self._starting.clear()
        self._consumer.desert()
        self._suspicion = HangDetector()
        self._consumer = KafkaConsumer(self._options, self._clock, self._on_assign, self._on_revoke)

    def _identify(self, topic_id: str) -> None:
        """The topic has this id; all epochs end if it had another."""
        if self._owned and topic_id != self._topic_id:
            _log.error("The topic was deleted and made again; what was not read of the old one is gone.",
                       topic=self._topic.name, old=self._topic_id, new=topic_id)  # fmt: skip
            again = list(self._owned)
            self._end(again)
            self._starting |= dict.fromkeys(again)
        self._topic_id = topic_id

    def _of_epoch(self, partition: int, epoch: int) -> AssignedPartition | None:
        owned = self._owned.get(partition)
        silent_s = self._clock.monotonic() - self._polled_at
        return owned if owned is not None and owned.epoch == epoch and silent_s < self._max_silence_s else None

    def _commit(self, owned: AssignedPartition, progress: Progress) -> None:
        self._consumer.commit(progress, owned.buffer.leader_epoch(progress.committed))
        owned.progress = progress
