"""The driver's errors as ours: Fatal when the client instance is beyond repair, Retryable for all else.

Rights and passwords can be mended while Parsec runs, so even their refusal is Retryable; the sentence says what it is.
"""

from confluent_kafka import KafkaError, KafkaException

from parsec.core.errors import Fatal, Retryable

_PLAIN = {
    KafkaError._TRANSPORT: "Kafka cannot be reached",
    KafkaError._ALL_BROKERS_DOWN: "Kafka cannot be reached",
    KafkaError._TIMED_OUT: "Kafka did not answer in time",
    KafkaError._MSG_TIMED_OUT: "Kafka did not answer in time",
    KafkaError._PURGE_QUEUE: "Kafka did not answer in time",
    KafkaError._PURGE_INFLIGHT: "Kafka did not answer in time",
    KafkaError._AUTHENTICATION: "Kafka refuses the user or password",
    KafkaError.SASL_AUTHENTICATION_FAILED: "Kafka refuses the user or password",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Kafka does not let this user use the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Kafka does not let this user use the consumer group",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "the topic does not exist",
    KafkaError.NOT_ENOUGH_REPLICAS: "too few replicas of the topic are in sync",
}


def error_of(exception: KafkaException) -> KafkaError:
    """What an exception of the driver is about."""
    error = exception.args[0]
    assert isinstance(error, KafkaError)
    return error


def told(error: KafkaError) -> str:
    """A sentence without its full stop."""
    plain = _PLAIN.get(error.code())
    return f"{plain} ({error.name()})" if plain else f"Kafka says {error.str()} ({error.name()})"


def translated(error: KafkaError, doing: str) -> Retryable | Fatal:
    """For `raise translated(...) from exception`."""
    kind = Fatal if error.fatal() else Retryable
    return kind(f"{doing}: {told(error)}")
