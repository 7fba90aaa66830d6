"""Read committed records of the topic once more, with a consumer that is not a member of the group.

In: a range of offsets of one partition. Out: a slice of what the topic still has of it. Errors: Retryable while Kafka
does not answer, or when the topic was deleted and created again. Next: parsec.process.repair.
"""

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from parsec.adapters.kafka import config
from parsec.adapters.kafka.buffer import Buffer
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.errors import error_of, rejected_options, to_parsec_error
from parsec.adapters.kafka.hang_detector import bounded_close
from parsec.adapters.kafka.producer import MAYBE_DUPLICATE
from parsec.adapters.kafka.topic import KafkaTopic
from parsec.core.errors import Retryable
from parsec.ports.broker import Range, Slice

HISTORY_WAIT_S = 2.0
"""For the first records of a slice: new events of all partitions wait as long."""
_CHUNK = 1000
_DOING = "reading from Kafka again failed"


class KafkaHistory:
    """For the reader's thread. Connects at the first call."""

    def __init__(self, options: KafkaOptions, topic: KafkaTopic) -> None:
        self._options = options
        self._topic = topic
        self._driver: Consumer | None = None

    def read(self, span: Range, epoch: int, max_events: int, max_bytes: int) -> Slice:
        """Offsets without a record count as lost. `epoch`: for the slice. Raises Retryable, Fatal."""
        topic_id = self._topic.log_id(HISTORY_WAIT_S)
        bounds = self._topic.bounds([span.partition], HISTORY_WAIT_S).get(span.partition)
        if bounds is None:
            raise Retryable(f"{_DOING}: partition {span.partition} has no leader yet")
        buffer = Buffer(span.log_id, span.partition, epoch, span.first)
        end = min(span.last + 1, bounds.high)
        buffer.set_empty_before(min(bounds.low, end))
        if bounds.low < end:
            self._fill(buffer, max(span.first, bounds.low), end, max_events, max_bytes)
        if self._topic.log_id(HISTORY_WAIT_S) != topic_id:  # of a new topic the driver returns the new records
            raise Retryable(f"{_DOING}: the topic was deleted and created again")
        if not buffer.has_slice:
            raise Retryable(f"{_DOING}: nothing came")
        return buffer.take(max_events, max_bytes)

    def close(self) -> None:
        """Safe to call twice."""
        driver, self._driver = self._driver, None
        if driver is not None:
            bounded_close(driver.close, HISTORY_WAIT_S)

    def _fill(self, buffer: Buffer, first: int, end: int, max_events: int, max_bytes: int) -> None:
        """Takes in the records first..end-1, as many as fit."""
        driver = self._opened()
        try:
            driver.assign([TopicPartition(self._options.topic, buffer.partition, first)])
            at, count = first, 0
            while at < end and count < max_events and buffer.bytes < max_bytes:
                messages = driver.consume(min(_CHUNK, max_events - count), HISTORY_WAIT_S)
                if not messages:
                    return
                for message in messages:
                    at = self._take(buffer, message, end)
                    count += 1
            driver.unassign()
        except KafkaException as error:
            raise to_parsec_error(error_of(error), _DOING) from error

    def _take(self, buffer: Buffer, message: Message, end: int) -> int:
        """Adds a record below `end`; the offset that follows it."""
        error, offset = message.error(), message.offset() or 0
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            raise to_parsec_error(error, _DOING)
        if error is not None or offset >= end:
            buffer.set_empty_before(end)
            return end
        headers = message.headers()
        resent = headers is not None and any(header[0] == MAYBE_DUPLICATE for header in headers)
        buffer.add(offset, message.value() or b"", None, resent=resent)
        return offset + 1

    def _opened(self) -> Consumer:
        if self._driver is None:
            try:
                self._driver = Consumer(config.consumer(self._options))
            except KafkaException as error:
                raise rejected_options(error) from error
        return self._driver
