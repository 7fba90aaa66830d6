"""Whether Kafka takes messages, as the door and health hear it."""

from parsec.adapters.kafka.monitor import RETRY_S, CircuitBreaker, KafkaHealth
from parsec.core.clock import ManualClock


def test_nothing_is_refused_before_anything_went_wrong() -> None:
    breaker = CircuitBreaker(ManualClock())
    assert breaker.open_reason() is None
    assert breaker.health() == KafkaHealth(connected=True, why=None, last_ack_age_s=None)


def test_after_a_failed_publish_nothing_is_tried_for_a_moment() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(clock)
    breaker.publish_succeeded()
    clock.advance(5)
    breaker.publish_failed("no answer")
    assert breaker.open_reason() == "no answer"
    assert breaker.health() == KafkaHealth(connected=True, why="no answer", last_ack_age_s=5)
    clock.advance(RETRY_S)
    assert breaker.open_reason() is None
    assert breaker.health().why == "no answer"  # until something is acknowledged
    breaker.publish_succeeded()
    assert breaker.health() == KafkaHealth(connected=True, why=None, last_ack_age_s=0)


def test_a_probe_that_is_answered_lets_the_next_publish_try() -> None:
    breaker = CircuitBreaker(ManualClock())
    breaker.publish_failed("no answer")
    breaker.probe_succeeded()
    assert breaker.open_reason() is None


def test_while_probes_are_not_answered_all_is_refused() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(clock)
    breaker.probe_failed("unreachable")
    clock.advance(1000)
    assert breaker.open_reason() == "unreachable"
    assert not breaker.health().connected
    breaker.probe_succeeded()
    assert breaker.open_reason() is None
    assert breaker.health().connected
