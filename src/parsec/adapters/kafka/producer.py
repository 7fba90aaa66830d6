"""One idempotent producer and the fate of what was handed to it.

In: records. Out: those that were not acknowledged, each with what is known of it. Errors: Fatal when this producer is
beyond repair; its owner makes another. Next: parsec.adapters.kafka.writer.

An acknowledgement is silence: the driver reports only failures, and `flush` returns 0 once every message was reported.
That costs 0.4 us per event less than a callback each. After the deadline the rest is purged, so that nothing is sent
behind our back later; what a broker may have had by then stays in doubt.
"""

from collections.abc import Mapping, Sequence

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from parsec.adapters.kafka import config
from parsec.adapters.kafka.bounded_close import bounded_close
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.errors import error_of, translated
from parsec.core.clock import Clock
from parsec.core.errors import Fatal

MAYBE_DUPLICATE = "maybe-duplicate"
"""Header of a record that is sent again while nobody knows whether an earlier attempt arrived."""

_PIECE = 500
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
"""Errors that say for certain that the message is in no log."""

TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})


class Record(msgspec.Struct, frozen=True, gc=False):
    """One message. `in_doubt`: an earlier attempt may have arrived, so it carries the header when it is sent."""

    key: str
    value: bytes
    in_doubt: bool = False


class Failure(msgspec.Struct, frozen=True):
    """A record that was not acknowledged, and the last that was heard of it."""

    record: Record
    error: KafkaError


class KafkaProducer:
    """Used by one thread."""

    def __init__(self, options: KafkaOptions, clock: Clock) -> None:
        """Connects in the background. Raises Fatal for options that librdkafka does not know."""
        self._topic = options.topic
        self._clock = clock
        self._reported: list[tuple[bytes | None, KafkaError]] = []
        try:
            self._producer = Producer({**config.producer(options), "on_delivery": self._report})
        except KafkaException as error:
            raise Fatal(f"the settings for Kafka are wrong: {error_of(error).str()}") from error

    def send(self, records: Sequence[Record], deadline: float) -> list[Failure]:
        """Hands over all records and waits until each has met its fate, until `deadline` (monotonic) at most."""
        self._reported.clear()
        refused: list[Failure] = []
        try:
            if any(record.in_doubt for record in records):
                refused = self._produce_each(records)
            else:
                for at in range(0, len(records), _PIECE):
                    refused += self._produce(records[at : at + _PIECE])
            unknown = self._await(deadline)
        except KafkaException as error:
            raise translated(error_of(error), "a message could not be given to Kafka") from error
        if unknown:
            return [Failure(record, unknown) for record in records]
        return refused + self._failures(records) if self._reported else refused

    @property
    def waiting(self) -> int:
        """Messages whose fate is open; 0 between two calls of `send`."""
        return len(self._producer)

    def discard(self) -> None:
        """Drops what is left and disconnects. Does not wait: unsent messages are forgotten, not flushed."""
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
            headers: dict[str, str | bytes | None] = {MAYBE_DUPLICATE: b"1"} if record.in_doubt else {}
            try:
                self._producer.produce(self._topic, record.value, record.key, headers=headers)
            except BufferError:
                refused.append(Failure(record, KafkaError(KafkaError._QUEUE_FULL)))
            except KafkaException as error:
                if error_of(error).fatal() or error_of(error).code() == KafkaError._FATAL:
                    raise
                refused.append(Failure(record, error_of(error)))
        return refused

    def _await(self, deadline: float) -> KafkaError | None:
        """None when every record was reported; else why nothing is known of any."""
        if self._producer.flush(max(0.0, deadline - self._clock.monotonic())) == 0:
            return None
        self._producer.purge(blocking=False)
        if self._producer.flush(_PURGE_S) == 0:
            return None
        return KafkaError(KafkaError._MSG_TIMED_OUT)

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._reported.append((message.value(), error))

    def _failures(self, records: Sequence[Record]) -> list[Failure]:
        """By content: of records that are the same byte for byte it does not matter which is sent again."""
        errors: dict[bytes | None, list[KafkaError]] = {}
        for value, error in self._reported:
            errors.setdefault(value, []).append(error)
        return [Failure(record, of_this.pop()) for record in records if (of_this := errors.get(record.value))]


def doubted(failure: Failure) -> Record:
    """The record as it must be sent next: in doubt unless it is certain that it was not written."""
    record = failure.record
    if record.in_doubt or failure.error.code() in _NEVER_WRITTEN:
        return record
    return Record(record.key, record.value, in_doubt=True)


def _refusal(message: Mapping[str, object]) -> KafkaError:
    error = message["_error"]
    return error if isinstance(error, KafkaError) else KafkaError(KafkaError._INVALID_ARG, str(error))
