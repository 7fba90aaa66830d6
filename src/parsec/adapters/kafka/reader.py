"""Read the topic for the processor: a member of the consumer group that owns partitions, each under its own epoch.

In: what the group coordinator and the partitions say. Out: assignments, revocations, slices; reservations and counts
in the metadata of commits. Errors: Retryable while Kafka does not answer, Fatal once closed.
Next: parsec.process.loop.

Invariants, cited by tests
 1. One thread: the driver calls back only inside `poll`, `reserve`, `commit` and `close`, and a partition gets another
    owner only after its last commit was answered.
 2. An epoch ends when the partition is revoked or lost, when the topic has another id, when its log went back, and when
    nothing was polled for `max.poll.interval.ms`. After that nothing of it is committed, even if the broker would.
 3. A record is returned only after the topic was found to have the id of its epoch, asked after the record was fetched:
    of a recreated topic the driver silently returns the new records at the old positions.
 4. Reading starts where the group's commits and their metadata say, never where the driver would start.
 5. A client that hangs (parsec.adapters.kafka.hang_detector) starts fetching again, and is replaced if that does not
    help. All epochs end with it.

The protocol is cooperative: a rebalance leaves the partitions that stay with their reader alone, batches in hand and
open reservations included, and a partition changes hands only after its old reader has released it. With the eager
protocol each rebalance would end all epochs of all readers and leave each batch in hand in doubt.
"""

from collections import deque
from collections.abc import Iterable

import structlog
from confluent_kafka import KafkaError, Message, TopicPartition
from msgspec.structs import replace

from parsec.adapters.kafka import config
from parsec.adapters.kafka.buffer import AssignedPartition
from parsec.adapters.kafka.commit_metadata import UNKNOWN_OFFSET, OffsetBounds, decode_progress, starting_point
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.consumer import KafkaConsumer
from parsec.adapters.kafka.errors import to_parsec_error
from parsec.adapters.kafka.hang_detector import HangDetector
from parsec.adapters.kafka.history import KafkaHistory
from parsec.adapters.kafka.producer import MAYBE_DUPLICATE
from parsec.adapters.kafka.topic import KafkaTopic
from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Assigned, Counts, Progress, Range, Revoked, Slice

_log = structlog.get_logger(__name__)

REQUEST_TIMEOUT_S = 2.0
EXPIRY_CHECK_S = 5.0
"""How often an idle reader checks whether the topic was recreated, and how far paused partitions have grown."""
LONGEST_WAIT_S = 0.1
"""The driver goes on waiting for a record after it has called back, so events about partitions would be this late."""
_ABOUT_POSITIONS = frozenset((KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION))


class KafkaReader:
    """A LogReader. Used by one thread; `begin_shutdown` from any."""

    def __init__(self, options: KafkaOptions, topic: KafkaTopic, clock: Clock) -> None:
        """Joins the group in the background. Raises Fatal for options that librdkafka does not know."""
        self._options = options
        self._topic = topic
        self._clock = clock
        self._max_silence_s = config.max_poll_interval_s(options)
        self._assigned: dict[int, AssignedPartition] = {}
        self._starting: dict[int, int | None] = {}  # partition -> `replaced_from` of commit_metadata.starting_point
        self._events: deque[Assigned | Revoked] = deque()
        self._epoch = 0
        self._topic_id = ""
        self._unverified = False  # records were fetched since the topic's id was checked (invariant 3)
        self._error: KafkaError | None = None
        self._closed = False
        self._hang_detector = HangDetector()
        self._polled_at = self._checked_at = clock.monotonic()
        self._consumer = KafkaConsumer(options, clock, self._on_assign, self._on_revoke)
        self._history = KafkaHistory(options, topic)

    def poll(self, max_wait_s: float, max_events: int, max_bytes: int) -> Slice | Assigned | Revoked | None:
        if self._closed:
            raise Fatal("the Kafka reader is closed")
        until = self._clock.monotonic() + max_wait_s
        event = self._next_event(max_events, max_bytes)
        while event is None:
            left_s = max(0.0, until - self._clock.monotonic())
            self._fetch(min(left_s, LONGEST_WAIT_S), max_events, max_bytes)
            event = self._next_event(max_events, max_bytes)
            if left_s == 0:
                break
        return event

    def reserve(self, taken: Range, epoch: int, attempt: int) -> None:
        assigned = self._under_epoch(taken.partition, epoch)
        if assigned is None:
            raise Retryable("the epoch of this partition has ended")
        self._commit(assigned, replace(assigned.progress, committed=taken.first, reserved=taken, attempt=attempt))
        if self._under_epoch(taken.partition, epoch) is None:
            raise Retryable("the epoch of this partition ended meanwhile")

    def commit(self, partition: int, epoch: int, next_offset: int, counts: Counts) -> bool:
        assigned = self._under_epoch(partition, epoch)
        if assigned is None:
            return False
        self._commit(
            assigned, replace(assigned.progress, committed=next_offset, counts=counts, reserved=None, attempt=0)
        )
        return True

    def read_again(self, span: Range, max_events: int, max_bytes: int) -> Slice | None:
        assigned = self._assigned.get(span.partition)
        if assigned is None or assigned.progress.log_id != span.log_id:
            return None
        return self._history.read(span, assigned.epoch, max_events, max_bytes)

    def keep_committed(self, keep: bool) -> None:
        """The topic has its own retention."""

    def pause(self, partition: int) -> None:
        assigned = self._assigned.get(partition)
        if assigned is not None and not assigned.paused:
            assigned.paused = True
            self._consumer.pause(partition)

    def resume(self, partition: int) -> None:
        assigned = self._assigned.get(partition)
        if assigned is not None and assigned.paused:
            assigned.paused = False
            self._consumer.resume(partition)

    def ends(self) -> dict[int, int]:
        for partition, assigned in self._assigned.items():
            assigned.high = max(assigned.high, assigned.buffer.end, self._consumer.cached_end(partition))
        return {partition: assigned.high for partition, assigned in self._assigned.items()}

    @property
    def buffered_bytes(self) -> int:
        """Size of the records that were fetched and not yet returned; a pause stops it from growing."""
        return sum(assigned.buffer.bytes for assigned in self._assigned.values())

    def begin_shutdown(self) -> None:
        """From any thread: the process ends, so nothing waits long for a Kafka that does not answer."""
        self._consumer.begin_shutdown()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._history.close()
            self._consumer.close()

    def _fetch(self, max_wait_s: float, max_events: int, max_bytes: int) -> None:
        """Takes in what has arrived and does what it asks for. Raises Retryable, Fatal."""
        self._replace_if_hung()
        busy = self._unverified or bool(self._starting)
        for message in self._consumer.messages(0.0 if busy else max_wait_s, max_events, max_bytes):
            self._handle(message)
        self._polled_at = self._clock.monotonic()
        error, self._error = self._error, None
        if error is not None:
            raise to_parsec_error(error, "reading from Kafka failed")
        self._start_partitions()
        self._check()

    def _next_event(self, max_events: int, max_bytes: int) -> Slice | Assigned | Revoked | None:
        """What is at hand: events about partitions first, then records of each partition in turn."""
        if self._events:
            return self._events.popleft()
        if self._unverified:
            return None
        for partition, assigned in self._assigned.items():
            if assigned.buffer.has_slice and not assigned.paused:
                piece = assigned.buffer.take(max_events, max_bytes)
                self._assigned[partition] = self._assigned.pop(partition)
                if piece.lost:
                    _log.error("Offsets of the topic hold no record: expired, compacted, or of a transaction.",
                               offsets=piece.lost, range=str(piece.range))  # fmt: skip
                return piece
        return None

    def _handle(self, message: Message) -> None:
        """A record, or an error, which the driver delivers as a message, too."""
        error, partition, offset = message.error(), message.partition(), message.offset()
        assigned = None if partition is None else self._assigned.get(partition)
        if assigned is None or partition is None or offset is None:
            if error is not None and error.code() not in _ABOUT_POSITIONS:
                self._error = error
        elif error is None:
            headers = message.headers()
            resent = headers is not None and any(header[0] == MAYBE_DUPLICATE for header in headers)
            assigned.buffer.add(offset, message.value() or b"", message.leader_epoch(), resent=resent)
            self._unverified = True
        elif error.code() == KafkaError._PARTITION_EOF:
            if offset > assigned.buffer.end:
                assigned.buffer.set_empty_before(offset)
                self._unverified = True
        elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION):
            _log.warning("The next offset to read is gone from the partition.", partition=partition,
                         offset=assigned.buffer.end, why=error.str())  # fmt: skip
            self._end_epochs([partition])
            self._starting[partition] = offset if error.code() == KafkaError._LOG_TRUNCATION else UNKNOWN_OFFSET
        else:
            self._error = error

    def _on_assign(self, partitions: list[int]) -> None:
        self._starting |= dict.fromkeys(partitions)

    def _on_revoke(self, partitions: list[int]) -> None:
        self._end_epochs(partitions)
        for partition in partitions:
            self._starting.pop(partition, None)

    def _end_epochs(self, partitions: Iterable[int]) -> None:
        """The only place where epochs end. Without an Assigned that was returned there is no Revoked either."""
        for partition in partitions:
            self._hang_detector.forget(partition)
            if self._assigned.pop(partition, None) is not None:
                unseen = [e for e in self._events if isinstance(e, Assigned) and e.progress.partition == partition]
                for event in unseen:
                    self._events.remove(event)
                if not unseen:
                    self._events.append(Revoked(partition))

    def _start_partitions(self) -> None:
        """Finds the starting points of newly assigned partitions and fetches from there. Raises Retryable."""
        if not self._starting:
            return
        self._verify_topic_id()
        partitions = list(self._starting)
        self._consumer.stop_fetching(partitions)
        bounds = self._topic.bounds(partitions, REQUEST_TIMEOUT_S)
        for place in self._consumer.committed(partitions, REQUEST_TIMEOUT_S):
            if place.partition in bounds and place.partition in self._starting:
                self._start(place, bounds[place.partition])
        if self._starting:
            raise Retryable(f"partitions {sorted(self._starting)} have no leader yet")

    def _start(self, place: TopicPartition, bounds: OffsetBounds) -> None:
        partition = place.partition
        committed = decode_progress(self._topic_id, partition, place.offset, place.metadata, bounds.low)
        found = starting_point(committed, place.leader_epoch, bounds, self._starting[partition])
        progress = found.progress
        if found.replaced is not None:
            _log.error("Committed records are gone from a partition; it is read as a new log from now on.",
                       was=found.replaced, first=progress.start, log_id=progress.log_id)  # fmt: skip
            self._consumer.commit(progress, None)
            if partition not in self._starting:
                return  # it was revoked meanwhile
        self._epoch += 1
        self._consumer.start_fetching(partition, max(progress.committed, bounds.low), found.leader_epoch)
        assigned = self._assigned[partition] = AssignedPartition(progress, self._epoch, bounds.high)
        assigned.buffer.set_leader_epoch(progress.committed - 1, found.leader_epoch)
        del self._starting[partition]
        self._events.append(Assigned(progress, self._epoch))

    def _check(self) -> None:
        """Invariants 3 and 5. Raises Retryable; what was fetched stays unverified then."""
        now = self._clock.monotonic()
        due = now - self._checked_at >= EXPIRY_CHECK_S
        if not (self._unverified or due):
            return
        self._verify_topic_id()
        self._unverified = False
        if not due:
            return
        self._checked_at = now
        if not self._assigned:
            reachable = self._consumer.coordinator_reachable(REQUEST_TIMEOUT_S)
            self._hang_detector.coordinator_checked(reachable=reachable)
            return
        for partition, bounds in self._topic.bounds(self._assigned, REQUEST_TIMEOUT_S).items():
            self._check_partition(partition, self._assigned[partition], bounds)

    def _check_partition(self, partition: int, assigned: AssignedPartition, bounds: OffsetBounds) -> None:
        """The driver reports neither the end of a paused partition nor that all of a log was replaced."""
        end, leader_epoch = assigned.buffer.end, assigned.buffer.last_leader_epoch
        if bounds.replaced(end - 1, leader_epoch) or bounds.high < end:
            self._end_epochs([partition])
            self._starting[partition] = UNKNOWN_OFFSET
            return
        assigned.high = max(assigned.high, bounds.high)
        has_more = bounds.high > end and not assigned.paused and not assigned.buffer.has_slice
        if self._hang_detector.is_stalled(partition, end, has_more=has_more):
            _log.warning("The Kafka client returns nothing from a partition that has more; fetching is restarted.",
                         partition=partition, offset=end, end=assigned.high)  # fmt: skip
            self._consumer.stop_fetching([partition])
            self._consumer.start_fetching(partition, end, leader_epoch)

    def _replace_if_hung(self) -> None:
        """Invariant 5. The old client no longer calls back."""
        why = self._hang_detector.why_hung(self._consumer.commit_pending_s)
        if why is None:
            return
        _log.error("The Kafka client hangs and is replaced; the messages it was handling are read again.", why=why)
        self._end_epochs(list(self._assigned))
        self._starting.clear()
        self._consumer.abandon()
        self._hang_detector = HangDetector()
        self._consumer = KafkaConsumer(self._options, self._clock, self._on_assign, self._on_revoke)

    def _verify_topic_id(self) -> None:
        """Ends all epochs when the topic has another id than before. Raises Retryable."""
        topic_id = self._topic.log_id(REQUEST_TIMEOUT_S)
        if self._assigned and topic_id != self._topic_id:
            _log.error("The topic was deleted and created again; unread records of the old one are lost.",
                       topic=self._topic.name, old=self._topic_id, new=topic_id)  # fmt: skip
            partitions = list(self._assigned)
            self._end_epochs(partitions)
            self._starting |= dict.fromkeys(partitions)
        self._topic_id = topic_id

    def _under_epoch(self, partition: int, epoch: int) -> AssignedPartition | None:
        assigned = self._assigned.get(partition)
        silent_s = self._clock.monotonic() - self._polled_at
        return assigned if assigned and assigned.epoch == epoch and silent_s < self._max_silence_s else None

    def _commit(self, assigned: AssignedPartition, progress: Progress) -> None:
        self._consumer.commit(progress, assigned.buffer.leader_epoch_before(progress.committed))
        assigned.progress = progress
