"""What librdkafka is told, and what an operator may not tell it."""

import pytest
from confluent_kafka import Consumer, Producer
from structlog.testing import CapturingLogger

from parsec.adapters.kafka import config
from parsec.adapters.kafka.cluster import KafkaCluster
from parsec.adapters.kafka.config import OURS, DriverLog, KafkaOptions
from parsec.core.clock import SystemRandom
from parsec.core.errors import Fatal
from parsec.loading import parse_pairs
from tests.support.manual_clock import ManualClock

NOWHERE = "127.0.0.1:1"


def test_options_are_pairs_and_a_value_may_have_commas() -> None:
    assert parse_pairs("debug=broker,topic, linger.ms = 5") == {"debug": "broker,topic", "linger.ms": "5"}
    assert parse_pairs("") == {}
    with pytest.raises(ValueError, match="name=value"):
        parse_pairs("linger.ms")


@pytest.mark.parametrize("name", OURS)
def test_an_option_that_a_promise_rests_on_cannot_be_set(name: str) -> None:
    options = KafkaOptions(brokers=NOWHERE, extra={name: "1"})
    for make in (config.producer, config.consumer, config.admin):
        with pytest.raises(Fatal, match=name):
            make(options)


def test_other_options_are_passed_on() -> None:
    options = KafkaOptions(brokers=NOWHERE, extra={"linger.ms": "7", "session.timeout.ms": "9000"})
    assert config.producer(options)["linger.ms"] == "7"
    assert config.consumer(options)["session.timeout.ms"] == "9000"


def test_an_option_that_nobody_knows_is_named() -> None:
    options = KafkaOptions(brokers=NOWHERE, extra={"no.such.option": "1"})
    with pytest.raises(Fatal, match=r"no\.such\.option"):
        KafkaCluster(options, ManualClock(), SystemRandom())


def test_the_newer_group_protocol_leaves_its_settings_to_the_broker() -> None:
    options = config.consumer(KafkaOptions(brokers=NOWHERE, extra={"group.protocol": "consumer"}))
    Consumer(options).close()


def test_the_longest_silence_is_the_operators() -> None:
    assert config.max_poll_interval_s(KafkaOptions(brokers=NOWHERE)) == 300
    extra = {"max.poll.interval.ms": "60000"}
    assert config.max_poll_interval_s(KafkaOptions(brokers=NOWHERE, extra=extra)) == 60


def test_tls_and_sasl_are_options_of_the_driver() -> None:
    extra = {"security.protocol": "sasl_ssl", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "u"}
    options = config.producer(KafkaOptions(brokers=NOWHERE, extra=extra | {"sasl.password": "p"}))
    assert options.items() >= extra.items()
    Producer(options).close()


def test_a_line_of_the_driver_is_written_once_in_ten_seconds() -> None:
    clock = ManualClock()
    written = CapturingLogger()
    log = DriverLog(clock.monotonic, written)
    for level, kind in ((40, "FAIL"), (40, "FAIL"), (30, "CONFWARN"), (20, "GETPID")):
        log.log(level, "%s [%s] %s", kind, "rdkafka#1", "Connection refused")
    clock.advance(10)
    log.log(40, "%s [%s] %s", "FAIL", "rdkafka#1", "Connection refused")
    assert [(call.method_name, call.kwargs["kind"]) for call in written.calls] == [
        ("warning", "FAIL"),
        ("info", "GETPID"),
        ("warning", "FAIL"),
    ]
