"""What /health says of Kafka."""

from collections.abc import Callable

import pytest

from parsec.ports.broker import KafkaHealth
from parsec.web.routes.health import PUBLISH_DOUBT_S, kafka_check


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
    told = kafka_check(lambda: state, lambda: refusal, lambda: waiting, lambda: None)()
    assert told.status == status
    assert words in told.why
    assert told.alive  # no restart would help
    age_s = state.last_ack_age_s
    assert told.details == {
        "connected": state.connected,
        "last_ack_age_s": None if age_s is None else round(age_s, 3),
        "spooled": waiting,
    }


@pytest.mark.parametrize("lacking", [None, lambda: "the disk is full"], ids=["off", "full"])
@pytest.mark.parametrize(
    ("state", "status"),
    [
        (KafkaHealth(False, "no answer", 1.0), "unhealthy"),
        (KafkaHealth(True, "too few replicas", 20.0, last_failure_age_s=PUBLISH_DOUBT_S - 1), "unhealthy"),
        (KafkaHealth(True, "too few replicas", 20.0, last_failure_age_s=PUBLISH_DOUBT_S + 1), "degraded"),
        (KafkaHealth(True, "cannot be made: set this", 20.0, needs_help=True, last_failure_age_s=60.0), "unhealthy"),
    ],
)
def test_without_a_usable_spool_a_kafka_that_does_not_acknowledge_means_not_ready(
    lacking: Callable[[], str | None] | None, state: KafkaHealth, status: str
) -> None:
    """A while after the last failure a request may try again: nothing else would notice that Kafka is back."""
    told = kafka_check(lambda: state, lambda: None, lambda: 0, lacking)()
    assert told.status == status
    assert state.why is not None
    assert state.why in told.why
    assert "Events are refused" in told.why
    assert "spool" in told.why or "disk is full" in told.why


def test_a_spool_that_cannot_be_written_is_said_before_it_is_needed() -> None:
    sound = KafkaHealth(True, None, 1.0)
    told = kafka_check(lambda: sound, lambda: None, lambda: 0, lambda: "the disk is full")()
    assert (told.status, told.why) == (
        "degraded", "Events would be refused if Kafka became unavailable: the disk is full.",
    )  # fmt: skip
    assert kafka_check(lambda: sound, lambda: None, lambda: 0, None)().status == "healthy"
