"""The long form of what must not end a process: questions without pause to a broker that comes and goes."""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from parsec.core.errors import Retryable
from tests.support.kafka_reading import kafka
from tests.support.kafka_server import KafkaServer
from tests.support.results import keep

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

ROUNDS = int(os.environ.get("PARSEC_SOAK_ROUNDS", "50"))


def test_the_questions_outlive_a_broker_that_comes_and_goes(broker: KafkaServer) -> None:
    """An assertion inside the driver would end this process; a client that went dead would answer nothing."""
    name = broker.make_topic(partitions=3)
    opened = kafka(broker.address, name, deadline_s=0.5)
    opened.ensure_topic()
    topic = opened.topic
    stop = threading.Event()
    started = time.monotonic()
    asked: list[int] = []

    def ask(question: Callable[[], object]) -> None:
        while not stop.is_set():
            with suppress(Retryable):
                question()
                asked.append(1)

    questions: list[Callable[[], object]] = [
        lambda: topic.ensure(0.5),
        lambda: topic.log_id(0.5),
        lambda: topic.bounds(range(3), 0.5),
        lambda: topic.progress(0.5),
        lambda: opened.probe(),
    ]
    threads = [threading.Thread(target=ask, args=(question,)) for question in questions]
    for thread in threads:
        thread.start()
    try:
        for turn in range(ROUNDS):
            if turn % 3 == 0:
                broker.restart()
            elif turn % 3 == 1:
                broker.kill9()
                broker.start()
            else:
                broker.pause()
                time.sleep(4)  # long enough to be missing from the metadata afterwards
                broker.resume()
            heard, end = len(asked), time.monotonic() + 60
            while len(asked) < heard + 50:
                assert time.monotonic() < end, f"nothing is answered after {turn + 1} rounds"
                time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert set(topic.ends(10)) == {0, 1, 2}
    assert not any(thread.is_alive() for thread in threads)
    seconds = round(time.monotonic() - started)
    figures = {"rounds": ROUNDS, "answered": len(asked), "seconds": seconds, "failures": 0}
    keep("kafka_comes_and_goes", "tests/system/test_kafka_soak.py", figures)
