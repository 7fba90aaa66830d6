"""Send records with one idempotent producer and collect those that were not acknowledged.

In: records. Out: the ones that failed, each with its error. Errors: Fatal when this producer is beyond repair; its
owner makes another. Next: parsec.adapters.kafka.writer.

The driver reports only failures, and `flush` returns 0 once every message has its outcome: 0.4 us per event less than
a callback for each. After the deadline the rest is purged, so that nothing is sent later; whether a broker had it by
then is unknown.
"""

from collections.abc import Mapping, Sequence

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from parsec.adapters.kafka import config
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.errors import error_of, rejected_options, to_parsec_error
from parsec.adapters.kafka.hang_detector import bounded_close
from parsec.core.clock import Clock

MAYBE_DUPLICATE = "maybe-duplicate"
"""Header of a record that is sent again while an earlier attempt may have arrived."""

_CHUNK = 500
"""Records per call of the driver, which holds the interpreter's lock for about a microsecond each."""
_PURGE_S = 1.0

_NEVER_WRITTEN = frozenset({
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError._QUEUE_FULL,
    KafkaError._INVALID_ARG,
    KafkaError._TIMED_OUT_QUEUE,
})  # fmt: skip
"""Errors after which the message is certainly in no log."""

TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})


class Record(msgspec.Struct, frozen=True, gc=False):
    """One message. `maybe_duplicate`: an earlier attempt may have arrived, so it is sent with the header."""

    key: str
    value: bytes
    maybe_duplicate: bool = False


class Failure(msgspec.Struct, frozen=True):
    """A record that was not acknowledged, and its last error."""

    record: Record
    error: KafkaError


class KafkaProducer:
    """Used by one thread."""

    def __init__(self, options: KafkaOptions, clock: Clock) -> None:
        """Connects in the background. Raises Fatal for options that librdkafka does not know."""
        self._topic = options.topic
        self._clock = clock
        self._failed: list[tuple[bytes | None, KafkaError]] = []
        try:
            self._producer = Producer({**config.producer(options), "on_delivery": self._report})
        except KafkaException as error:
            raise rejected_options(error) from error

    def send(self, records: Sequence[Record], deadline: float) -> list[Failure]:
        """Sends all records and waits for the outcome of each, until `deadline` (monotonic) at most."""
        self._failed.clear()
        refused: list[Failure] = []
        try:
            if any(record.maybe_duplicate for record in records):
                refused = self._produce_each(records)
            else:
                for at in range(0, len(records), _CHUNK):
                    refused += self._produce(records[at : at + _CHUNK])
            unknown = self._flush(deadline)
        except KafkaException as error:
            raise to_parsec_error(error_of(error), "sending to Kafka failed") from error
        if unknown:
            return [Failure(record, unknown) for record in records]
        return refused + self._failures(records) if self._failed else refused

    @property
    def waiting(self) -> int:
        """Messages without an outcome; 0 between two calls of `send`."""
        return len(self._producer)

    def discard(self) -> None:
        """Disconnects. Drops unsent messages instead of flushing them."""
        self._producer.purge(blocking=False)
        self._producer.flush(_PURGE_S)
        bounded_close(self._producer.close)

    def _produce(self, records: Sequence[Record]) -> list[Failure]:
        messages: list[dict[str, object]] = [{"key": record.key, "value": record.value} for record in records]
        if self._producer.produce_batch(self._topic, messages) == len(records):
            return []
        pairs = zip(records, messages, strict=True)
        return [Failure(record, _refusal(message)) for record, message in pairs if "_error" in message]

    def _produce_each(self, records: Sequence[Record]) -> list[Failure]:
        refused = []
        for record in records:
            headers: dict[str, str | bytes | None] = {MAYBE_DUPLICATE: b"1"} if record.maybe_duplicate else {}
            try:
                self._producer.produce(self._topic, record.value, record.key, headers=headers)
            except BufferError:
                refused.append(Failure(record, KafkaError(KafkaError._QUEUE_FULL)))
            except KafkaException as error:
                if error_of(error).fatal() or error_of(error).code() == KafkaError._FATAL:
                    raise
                refused.append(Failure(record, error_of(error)))
        return refused

    def _flush(self, deadline: float) -> KafkaError | None:
        """None when every record has its outcome; else the error that stands for all of them."""
        if self._producer.flush(max(0.0, deadline - self._clock.monotonic())) == 0:
            return None
        self._producer.purge(blocking=False)
        if self._producer.flush(_PURGE_S) == 0:
            return None
        return KafkaError(KafkaError._MSG_TIMED_OUT)

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append((message.value(), error))

    def _failures(self, records: Sequence[Record]) -> list[Failure]:
        """Matched by content: of equal records it does not matter which one is sent again."""
        errors: dict[bytes | None, list[KafkaError]] = {}
        for value, error in self._failed:
            errors.setdefault(value, []).append(error)
        return [Failure(record, left.pop()) for record in records if (left := errors.get(record.value))]


def for_retry(failure: Failure) -> Record:
    """The record as it must be sent next: with the header, unless it was certainly not written."""
    record = failure.record
    if record.maybe_duplicate or failure.error.code() in _NEVER_WRITTEN:
        return record
    return Record(record.key, record.value, maybe_duplicate=True)


def _refusal(message: Mapping[str, object]) -> KafkaError:
    error = message["_error"]
    return error if isinstance(error, KafkaError) else KafkaError(KafkaError._INVALID_ARG, str(error))
