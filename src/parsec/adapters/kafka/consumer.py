"""The driver's consumer with the reader's operations: messages by size, partitions by number, commits of Progress.

In: what the reader decides. Out: messages, committed offsets, ends. Errors: Retryable for what Kafka refuses or leaves
unanswered, Fatal for wrong options. Next: parsec.adapters.kafka.reader.

Commits are asynchronous: a synchronous one blocks for as long as a session, and every other call of the client with it.
The answer arrives while messages are read; those read meanwhile are kept for `messages`. The driver gives up no
partition before its commits are answered, so a late commit never follows those of the next owner.
"""

import threading
from collections.abc import Callable, Iterable, Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from parsec.adapters.kafka import config
from parsec.adapters.kafka.commit_metadata import encode_progress
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.errors import describe, error_of, rejected_options, to_parsec_error
from parsec.adapters.kafka.hang_detector import bounded_close
from parsec.core.clock import Clock
from parsec.core.errors import Retryable
from parsec.ports.broker import Progress

COMMIT_WAIT_S, SHUTDOWN_COMMIT_WAIT_S = 5.0, 1.0
"""The longest wait for a commit's answer: longer than a healthy coordinator takes, and shorter during shutdown."""
LEAVE_GROUP_S = 5.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.001, 0.05
_CHUNK = 1000
_MAX_KEPT = 200_000

PartitionsCallback = Callable[[list[int]], None]
"""Partitions were assigned or revoked. Called inside `messages`, `commit` and `close`, on their thread."""


class KafkaConsumer:
    """One member of the group. Fetches only partitions and offsets given to `start_fetching`."""

    def __init__(
        self, options: KafkaOptions, clock: Clock, on_assign: PartitionsCallback, on_revoke: PartitionsCallback
    ) -> None:
        self._topic = options.topic
        self._clock = clock
        self._fetching: set[int] = set()
        self._mean_bytes = 1024
        self._kept: list[Message] = []
        self._commit_sent_at: float | None = None
        self._commit_error: KafkaError | None = None
        self._shutting_down = threading.Event()
        self._abandoned = False
        try:
            self._driver = Consumer({**config.consumer(options), "on_commit": self._on_commit})
        except KafkaException as error:
            raise rejected_options(error) from error

        def assign(driver: Consumer, places: list[TopicPartition]) -> None:
            driver.incremental_assign([])  # else the driver starts fetching by itself, from an offset it picks
            if not self._abandoned:
                on_assign([place.partition for place in places])

        def revoke(_: Consumer, places: list[TopicPartition]) -> None:
            partitions = [place.partition for place in places]
            self.stop_fetching(partitions, always=True)
            if not self._abandoned:
                on_revoke(partitions)

        self._driver.subscribe([self._topic], on_assign=assign, on_revoke=revoke, on_lost=revoke)

    def messages(self, max_wait_s: float, max_events: int, max_bytes: int) -> Iterator[Message]:
        """Messages that have arrived, up to about the given size; waits for the first one only."""
        kept, self._kept = self._kept, []
        yield from kept
        if kept:
            return
        first = self._driver.poll(max_wait_s)
        batch = [] if first is None else [first]
        events = size = 0
        while batch:
            yield from batch
            taken = sum(map(len, batch))
            events += len(batch)
            size += taken
            self._mean_bytes = max(taken // len(batch), 1)
            room = min(max_events - events, (max_bytes - size) // self._mean_bytes, _CHUNK)
            batch = self._driver.consume(room, 0) if room > 0 else []

    def start_fetching(self, partition: int, offset: int, leader_epoch: int | None) -> None:
        """Starts at `offset`. If the record before has another leader epoch, the log went back: a message says so."""
        self._driver.incremental_assign([self._place(partition, offset, "", leader_epoch)])
        self.resume(partition)  # the driver remembers a pause from before the partition was revoked
        self._fetching.add(partition)

    def stop_fetching(self, partitions: Iterable[int], *, always: bool = False) -> None:
        """`always`: call the driver even when none of them is fetched, as its callbacks require."""
        stopped = self._fetching.intersection(partitions)
        if stopped or always:
            self._driver.incremental_unassign(self._places(stopped))
            self._kept = [message for message in self._kept if message.partition() not in stopped]
        self._fetching -= stopped

    def pause(self, partition: int) -> None:
        self._driver.pause(self._places([partition]))

    def resume(self, partition: int) -> None:
        self._driver.resume(self._places([partition]))

    def cached_end(self, partition: int) -> int:
        """The end of the partition as of the last fetch; 0 when it is unknown. Does not block."""
        bounds = self._driver.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        return bounds[1] if bounds else 0

    def committed(self, partitions: Iterable[int], timeout_s: float) -> list[TopicPartition]:
        """The group's last committed offsets with metadata and leader epoch. Raises Retryable."""
        doing = "reading the committed offsets failed"
        try:
            places = self._driver.committed(self._places(partitions), timeout_s)
        except KafkaException as error:
            raise to_parsec_error(error_of(error), doing) from error
        for place in places:
            if place.error is not None:
                raise to_parsec_error(place.error, doing)
        return places

    def coordinator_reachable(self, timeout_s: float) -> bool:
        """Whether a coordinator answers, be it with a refusal."""
        try:
            self._driver.committed(self._places([0]), timeout_s)
        except KafkaException as error:
            return error_of(error).code() >= 0
        return True

    def commit(self, progress: Progress, leader_epoch: int | None) -> None:
        """Returns when the coordinator has it; partitions may be assigned and revoked meanwhile.

        Raises Retryable, at once while an earlier commit is not answered.
        """
        place = self._place(progress.partition, progress.committed, encode_progress(progress), leader_epoch)
        doing = f"committing offset {progress.committed} of partition {progress.partition} failed"
        if self._commit_sent_at is not None:
            raise Retryable(f"{doing}: Kafka has not answered the commit before")
        sent_at = self._commit_sent_at = self._clock.monotonic()
        self._commit_error = None
        try:
            self._driver.commit(offsets=[place], asynchronous=True)
        except KafkaException as error:
            self._commit_sent_at = None
            raise to_parsec_error(error_of(error), doing) from error
        wait_s = _FIRST_WAIT_S  # short: the driver goes on waiting for messages after it has called back
        while self._commit_sent_at is not None:
            longest_s = SHUTDOWN_COMMIT_WAIT_S if self._shutting_down.is_set() else COMMIT_WAIT_S
            if self._clock.monotonic() - sent_at >= longest_s or len(self._kept) >= _MAX_KEPT:
                raise Retryable(f"{doing}: Kafka did not answer in time")
            arrived = self._driver.consume(_CHUNK, wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            self._kept += [each for each in arrived if each.partition() is None or each.partition() in self._fetching]
        if self._commit_error is not None:
            raise Retryable(f"{doing}: {describe(self._commit_error)}")

    @property
    def commit_pending_s(self) -> float:
        """The age of a commit that is not answered; 0 when there is none."""
        return 0.0 if self._commit_sent_at is None else self._clock.monotonic() - self._commit_sent_at

    def begin_shutdown(self) -> None:
        """From any thread: the process ends, so commits wait less for their answers."""
        self._shutting_down.set()

    def close(self) -> None:
        """Leaves the group, or gives up after LEAVE_GROUP_S; fetched records without a commit are the next owner's."""
        bounded_close(self._driver.close, LEAVE_GROUP_S)

    def abandon(self) -> None:
        """For a client that hangs: it leaves the group if it still can, and calls back no more."""
        self._abandoned = True
        bounded_close(self._driver.close, 0)

    def _on_commit(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        """Called inside `messages`, `commit` and `close`."""
        self._commit_sent_at = None
        self._commit_error = error or next((place.error for place in places if place.error is not None), None)

    def _place(self, partition: int, offset: int, metadata: str, leader_epoch: int | None) -> TopicPartition:
        return TopicPartition(self._topic, partition, offset, metadata, -1 if leader_epoch is None else leader_epoch)

    def _places(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]
