"""The driver's consumer in the words of the reader: messages by size, partitions by number, commits of Progress.

In: what the reader decides. Out: messages, committed offsets, ends. Errors: Retryable for what Kafka refuses or leaves
unanswered, Fatal for wrong options. Next: parsec.adapters.kafka.reader.

Commits are asynchronous, for the driver's other kind blocks for as long as a session, and with it every other call of
the client. The answer comes among the messages; what comes before it is kept for `messages`. The driver gives up no
partition before its commits are answered, so a late one never comes after those of the next owner.
"""

import threading
from collections.abc import Callable, Iterable, Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from parsec.adapters.kafka import config
from parsec.adapters.kafka.bounded_close import bounded_close
from parsec.adapters.kafka.commit_metadata import metadata
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.errors import error_of, told, translated
from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Progress

COMMIT_WAIT_S, HURRIED_WAIT_S = 5.0, 1.0
"""How long a commit is waited for: longer than a healthy coordinator takes, and less when the process ends."""
CLOSE_WAIT_S = 5.0
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.001, 0.05
_PIECE = 1000
_MOST_KEPT = 200_000

News = Callable[[list[int]], None]
"""Partitions were given to us, or were taken away. Called inside `messages` and `close`, on their thread."""


class KafkaConsumer:
    """One member of the group. Fetches only what it was told to begin with `fetch`, from where it was told."""

    def __init__(self, options: KafkaOptions, clock: Clock, on_assign: News, on_revoke: News) -> None:
        self._topic = options.topic
        self._clock = clock
        self._fetched: set[int] = set()
        self._mean_bytes = 1024
        self._kept: list[Message] = []
        self._committing_since: float | None = None
        self._commit_error: KafkaError | None = None
        self._hurried = threading.Event()
        self._left = False
        try:
            self._driver = Consumer({**config.consumer(options), "on_commit": self._answered})
        except KafkaException as error:
            raise Fatal(f"the settings for Kafka are wrong: {error_of(error).str()}") from error

        def assign(driver: Consumer, places: list[TopicPartition]) -> None:
            driver.incremental_assign([])  # else the driver would begin by itself, where it likes
            if not self._left:
                on_assign([place.partition for place in places])

        def revoke(_: Consumer, places: list[TopicPartition]) -> None:
            gone = [place.partition for place in places]
            self.stop_fetching(gone, always=True)
            if not self._left:
                on_revoke(gone)

        self._driver.subscribe([self._topic], on_assign=assign, on_revoke=revoke, on_lost=revoke)

    def messages(self, max_wait_s: float, max_events: int, max_bytes: int) -> Iterator[Message]:
        """What has arrived, up to about the asked size; waits for the first only."""
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
            room = min(max_events - events, (max_bytes - size) // self._mean_bytes, _PIECE)
            batch = self._driver.consume(room, 0) if room > 0 else []

    def fetch(self, partition: int, offset: int, leader_epoch: int | None) -> None:
        """Begins at `offset`. If that follows no record of this leader epoch, the log went back; a message says so."""
        self._driver.incremental_assign([self._place(partition, offset, "", leader_epoch)])
        self.resume(partition)  # the driver remembers a pause from before the partition was taken away
        self._fetched.add(partition)

    def stop_fetching(self, partitions: Iterable[int], *, always: bool = False) -> None:
        """Of partitions that are fetched. `always`: tells the driver even of none, as its callbacks want."""
        fetched = self._fetched.intersection(partitions)
        if fetched or always:
            self._driver.incremental_unassign(self._places(fetched))
            self._kept = [message for message in self._kept if message.partition() not in fetched]
        self._fetched -= fetched

    def pause(self, partition: int) -> None:
        self._driver.pause(self._places([partition]))

    def resume(self, partition: int) -> None:
        self._driver.resume(self._places([partition]))

    def high(self, partition: int) -> int:
        """The end of the partition as of the last fetch; 0 when it is not known. Does not block."""
        bounds = self._driver.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
        return bounds[1] if bounds else 0

    def committed(self, partitions: Iterable[int], timeout_s: float) -> list[TopicPartition]:
        """Offset, metadata and leader epoch that the group committed last. Raises Retryable."""
        doing = "the committed offsets could not be asked for"
        try:
            places = self._driver.committed(self._places(partitions), timeout_s)
        except KafkaException as error:
            raise translated(error_of(error), doing) from error
        for place in places:
            if place.error is not None:
                raise translated(place.error, doing)
        return places

    def hears(self, timeout_s: float) -> bool:
        """Whether a coordinator answers, be it with a refusal."""
        try:
            self._driver.committed(self._places([0]), timeout_s)
        except KafkaException as error:
            return error_of(error).code() >= 0
        return True

    def commit(self, progress: Progress, leader_epoch: int | None) -> None:
        """Returns when the coordinator has it; partitions may be given and taken meanwhile.

        Raises Retryable, at once while an earlier commit is not answered.
        """
        place = self._place(progress.partition, progress.committed, metadata(progress), leader_epoch)
        doing = f"offset {progress.committed} of partition {progress.partition} could not be committed"
        if self._committing_since is not None:
            raise Retryable(f"{doing}: Kafka has not answered the one before")
        began = self._committing_since = self._clock.monotonic()
        self._commit_error = None
        try:
            self._driver.commit(offsets=[place], asynchronous=True)
        except KafkaException as error:
            self._committing_since = None
            raise translated(error_of(error), doing) from error
        look_s = _FIRST_LOOK_S  # the driver goes on waiting for messages after it has called back
        while self._committing_since is not None:
            waited_s = self._clock.monotonic() - began
            longest_s = HURRIED_WAIT_S if self._hurried.is_set() else COMMIT_WAIT_S
            if waited_s >= longest_s or len(self._kept) >= _MOST_KEPT:
                raise Retryable(f"{doing}: Kafka did not answer in time")
            arrived = self._driver.consume(_PIECE, look_s)
            look_s = min(look_s * 2, _LONGEST_LOOK_S)
            self._kept += [each for each in arrived if each.partition() is None or each.partition() in self._fetched]
        if self._commit_error is not None:
            raise Retryable(f"{doing}: {told(self._commit_error)}")

    @property
    def unanswered_s(self) -> float:
        """For how long a commit has not been answered; 0 when none is open."""
        since = self._committing_since
        return 0.0 if since is None else self._clock.monotonic() - since

    def hurry(self) -> None:
        """From any thread: the process ends, so no commit is waited for long."""
        self._hurried.set()

    def close(self) -> None:
        """Leaves the group; what was fetched and not committed is the next owner's. Gives up on one that is away."""
        bounded_close(self._driver.close, CLOSE_WAIT_S)

    def desert(self) -> None:
        """For a driver that hangs: it leaves the group if it still can, and calls back no more."""
        self._left = True
        bounded_close(self._driver.close, 0)

    def _answered(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        """Called inside `messages`, `commit` and `close`."""
        self._committing_since = None
        self._commit_error = error or next((place.error for place in places if place.error is not None), None)

    def _place(self, partition: int, offset: int, text: str, leader_epoch: int | None) -> TopicPartition:
        return TopicPartition(self._topic, partition, offset, text, -1 if leader_epoch is None else leader_epoch)

    def _places(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]
