"""What /health says of Kafka."""

import pytest

from parsec.ports.broker import KafkaHealth
from parsec.web.routes.health import kafka_check


@pytest.mark.parametrize(
    ("state", "refusal", "waiting", "status", "words"),
    [
        (KafkaHealth(True, None, 1.23456), None, 0, "healthy", ""),
        (KafkaHealth(True, None, None), None, 0, "healthy", ""),
        (KafkaHealth(True, None, 1.0), None, 7, "degraded", "being sent to Kafka"),
        (KafkaHealth(False, "no answer", 1.0), None, 7, "degraded", "no answer"),
        (KafkaHealth(True, "too few replicas", 1.0), None, 0, "degraded", "too few replicas"),
        (KafkaHealth(False, "no answer", 1.0), "the spool is full", 7, "unhealthy", "the spool is full"),
        (KafkaHealth(False, "cannot be made: set this", 1.0, needs_help=True), None, 7, "unhealthy", "set this"),
    ],
)
def test_kafka(state: KafkaHealth, refusal: str | None, waiting: int, status: str, words: str) -> None:
    told = kafka_check(lambda: state, lambda: refusal, lambda: waiting)()
    assert told.status == status
    assert words in told.why
    assert told.alive  # no restart would help
    age_s = state.last_ack_age_s
    assert told.details == {
        "connected": state.connected,
        "last_ack_age_s": None if age_s is None else round(age_s, 3),
        "spooled": waiting,
    }
