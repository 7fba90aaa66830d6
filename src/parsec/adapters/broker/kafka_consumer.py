"""The driver's consumer in the words of the reader: messages by size, partitions by number, commits of Progress.

In: what the reader decides. Out: messages, committed offsets, ends. Errors: Retryable for what Kafka refuses or leaves
unanswered, Fatal for wrong options. Next: parsec.adapters.broker.kafka_reader.
"""

from collections.abc import Callable, Iterable, Iterator

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from parsec.adapters.broker import kafka_settings
from parsec.adapters.broker.kafka_errors import error_of, told, translated
from parsec.adapters.broker.kafka_positions import metadata
from parsec.adapters.broker.kafka_settings import KafkaOptions
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Progress

_PIECE = 1000

News = Callable[[list[int]], None]
"""Partitions were given to us, or were taken away. Called inside `messages` and `close`, on their thread."""


class KafkaConsumer:
    """One member of the group. Fetches only what it was told to begin with `fetch`, from where it was told."""

    def __init__(self, options: KafkaOptions, on_assign: News, on_revoke: News) -> None:
        self._topic = options.topic
        self._fetched: set[int] = set()
        self._mean_bytes = 1024
        try:
            self._driver = Consumer(kafka_settings.consumer(options))
        except KafkaException as error:
            raise Fatal(f"the settings for Kafka are wrong: {error_of(error).str()}") from error

        def assign(driver: Consumer, places: list[TopicPartition]) -> None:
            driver.incremental_assign([])  # else the driver would begin by itself, where it likes
            on_assign([place.partition for place in places])

        def revoke(_: Consumer, places: list[TopicPartition]) -> None:
            gone = [place.partition for place in places]
            self.stop_fetching(gone, always=True)
            on_revoke(gone)

        self._driver.subscribe([self._topic], on_assign=assign, on_revoke=revoke, on_lost=revoke)

    def messages(self, max_wait_s: float, max_events: int, max_bytes: int) -> Iterator[Message]:
        """What has arrived, up to about the asked size; waits for the first only."""
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
        self._fetched.add(partition)

    def stop_fetching(self, partitions: Iterable[int], *, always: bool = False) -> None:
        """Of partitions that are fetched. `always`: tells the driver even of none, as its callbacks want."""
        fetched = self._fetched.intersection(partitions)
        if fetched or always:
            self._driver.incremental_unassign(self._places(fetched))
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

    def commit(self, progress: Progress, leader_epoch: int | None) -> None:
        """Blocks until the coordinator answered, or for the session timeout when there is none. Raises Retryable."""
        place = self._place(progress.partition, progress.committed, metadata(progress), leader_epoch)
        doing = f"offset {progress.committed} of partition {progress.partition} could not be committed"
        try:
            answers = self._driver.commit(offsets=[place], asynchronous=False) or []
        except KafkaException as error:
            raise translated(error_of(error), doing) from error
        for answer in answers:
            if answer.error is not None:
                raise Retryable(f"{doing}: {told(answer.error)}")

    def close(self) -> None:
        """Leaves the group; what was fetched and not committed is the next owner's."""
        self._driver.close()

    def _place(self, partition: int, offset: int, text: str, leader_epoch: int | None) -> TopicPartition:
        return TopicPartition(self._topic, partition, offset, text, -1 if leader_epoch is None else leader_epoch)

    def _places(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]
