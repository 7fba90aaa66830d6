"""Parsec on Kafka, for tests: started on a topic of its own, loaded, and counted at the end against three truths: what
its clients were answered, what the topic holds, and what can be found.
"""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.support.kafka_server import KafkaServer
from tests.support.load import Load
from tests.support.process import Parsec

SOON_S = 90.0


def on_kafka(server: KafkaServer, topic: str, data_dir: Path, **settings: str) -> Parsec:
    """Not started yet."""
    wanted = {
        "KAFKA_BROKERS": server.address,
        "KAFKA_TOPIC": topic,
        "KAFKA_CONSUMER_GROUP": f"group-of-{topic}",
        "PARSEC_DISK_RESERVE": "0",
        "PARSEC_PROCESS_LINGER_MS": "100",
    }
    return Parsec(data_dir, **(wanted | settings))


def until(true: Callable[[], bool], parsec: Parsec, timeout_s: float = SOON_S) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert parsec.process.poll() is None, parsec.logs()[-4000:]
        if time.monotonic() > end:
            raise AssertionError(f"{parsec.stats()}\n{parsec.logs()[-6000:]}")
        time.sleep(0.1)


def wait_stored(parsec: Parsec, server: KafkaServer, topic: str, partitions: int) -> int:
    """Until nothing is spooled and every record of the topic is committed; how many records the topic holds."""
    until(lambda: parsec.get("/health")[1]["checks"]["kafka"]["spooled"] == 0, parsec)
    held = len(server.records(topic, partitions))

    def committed() -> bool:
        ledger = parsec.stats()["ledger"]
        return bool(ledger) and len(ledger["partitions"]) == partitions and ledger["committed"] == held

    until(committed, parsec)
    return held


def assert_each_once(parsec: Parsec, server: KafkaServer, topic: str, partitions: int, *loads: Load) -> dict[str, Any]:
    """Every acknowledged event is found, none twice, none from nowhere; counters and ledger agree with the topic."""
    held = wait_stored(parsec, server, topic, partitions)
    tenants = {tenant for load in loads for tenant in load.tenants}
    found = Counter(event["id"] for tenant in tenants for event in parsec.search(tenant))
    acknowledged = set[str]().union(*(load.acknowledged for load in loads))
    in_doubt = {each for load in loads for each in (*load.unanswered, *load.refused_ids)}
    stats: dict[str, Any] = parsec.stats()
    ledger = stats["ledger"]
    assert not [answer for load in loads for answer in load.wrong_answers]
    twice = {event_id for event_id, times in found.items() if times > 1}
    assert not twice, f"{len(twice)} events are stored more than once"
    assert not acknowledged - found.keys(), f"{len(acknowledged - found.keys())} acknowledged events are lost"
    assert not found.keys() - acknowledged - in_doubt, "events came from nowhere"
    assert ledger["stored"] == sum(found.values())
    assert ledger["stored"] + ledger["duplicate"] == held
    assert (ledger["difference"], ledger["dead"], ledger["lost"]) == (0, 0, 0)
    return stats


def ids_in(server: KafkaServer, topic: str, partitions: int) -> Counter[str]:
    """What a consumer that knows nothing of Parsec finds, by id."""
    return Counter(
        msgspec.json.decode(message.value() or b"", type=dict)["id"] for message in server.records(topic, partitions)
    )
