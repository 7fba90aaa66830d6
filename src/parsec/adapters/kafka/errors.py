"""Translate the driver's errors: Fatal when the client instance is beyond repair, Retryable for everything else.

Permissions and passwords can be mended while Parsec runs, so even their refusal is Retryable; the message names it.
"""

from confluent_kafka import KafkaError, KafkaException

from parsec.core.errors import Fatal, Retryable

_UNREACHABLE = "Kafka cannot be reached; check KAFKA_BROKERS and that the brokers run"
_TIMEOUT = "Kafka did not answer in time"
_LOGIN = (
    "Kafka refuses the login; check PARSEC_KAFKA_PASSWORD, and sasl.mechanism and sasl.username in PARSEC_KAFKA_OPTIONS"
)
_MESSAGES = {
    KafkaError._TRANSPORT: _UNREACHABLE,
    KafkaError._ALL_BROKERS_DOWN: _UNREACHABLE,
    KafkaError._TIMED_OUT: _TIMEOUT,
    KafkaError._MSG_TIMED_OUT: _TIMEOUT,
    KafkaError._PURGE_QUEUE: _TIMEOUT,
    KafkaError._PURGE_INFLIGHT: _TIMEOUT,
    KafkaError._AUTHENTICATION: _LOGIN,
    KafkaError.SASL_AUTHENTICATION_FAILED: _LOGIN,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Kafka denies this user the topic; grant it read, write and describe",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Kafka denies this user the consumer group; grant it read",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "the topic does not exist; check KAFKA_TOPIC",
    KafkaError.NOT_ENOUGH_REPLICAS: "too few replicas of the topic are in sync; check the brokers",
}


def error_of(exception: KafkaException) -> KafkaError:
    """The KafkaError inside an exception of the driver."""
    error = exception.args[0]
    assert isinstance(error, KafkaError)
    return error


def describe(error: KafkaError) -> str:
    """A sentence without its full stop."""
    message = _MESSAGES.get(error.code())
    return f"{message} ({error.name()})" if message else f"Kafka answered: {error.str()} ({error.name()})"


def to_parsec_error(error: KafkaError, doing: str) -> Retryable | Fatal:
    """For `raise to_parsec_error(...) from exception`."""
    kind = Fatal if error.fatal() else Retryable
    return kind(f"{doing}: {describe(error)}")


def rejected_options(exception: KafkaException) -> Fatal:
    """For a client that librdkafka refuses to make."""
    return Fatal(f"Kafka's driver refuses its options, check PARSEC_KAFKA_OPTIONS: {error_of(exception).str()}")
