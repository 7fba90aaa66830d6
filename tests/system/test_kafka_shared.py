"""Several processes on one Kafka and one store: whoever of them ends, each acknowledged event is found exactly once.

The store is chDB behind tests.support.clickhouse_front, which speaks the server's HTTP interface.
"""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.clickhouse_front import clickhouse_front
from tests.support.kafka_parsec import on_kafka, until
from tests.support.kafka_server import KafkaServer
from tests.support.load import TENANT, Load, event
from tests.support.process import Parsec
from tests.support.tailing import Reader

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PARTITIONS = 6
MAX_POLL_S = 8


@pytest.fixture
def server(broker: KafkaServer) -> KafkaServer:
    return broker


class Group:
    """Processes that share a topic, a consumer group and a store."""

    def __init__(self, server: KafkaServer, store: str, directory: Path) -> None:
        self.topic = f"t-{uuid4().hex[:12]}"
        self._server = server
        self._store = store
        self._directory = directory

    def member(self, name: str, **settings: str) -> Parsec:
        wanted = {
            "STORAGE_BACKEND": "clickhouse",
            "CLICKHOUSE_URL": self._store,
            "CLICKHOUSE_DATABASE": self.topic.replace("-", "_"),
            "PARSEC_TOPIC_PARTITIONS": str(PARTITIONS),
            "PARSEC_KAFKA_OPTIONS": f"session.timeout.ms=6000,max.poll.interval.ms={MAX_POLL_S}000",
        }
        return on_kafka(self._server, self.topic, self._directory / name, **(wanted | settings))


@pytest.fixture
def group(server: KafkaServer, tmp_path: Path) -> Iterator[Group]:
    (tmp_path / "store").mkdir()
    with clickhouse_front(tmp_path / "store") as store:
        yield Group(server, store.url, tmp_path)


TENANTS = [f"{TENANT}-{n}" for n in range(12)]


def partitions_of(parsec: Parsec) -> set[int]:
    return {each["partition"] for each in parsec.stats()["ledger"].get("partitions", ())}


def all_of(parsec: Parsec) -> list[str]:
    return [each["id"] for tenant in TENANTS for each in parsec.search(tenant)]


def loaded(parsec: Parsec, run: str) -> Load:
    """Clients of one member that go on until they are stopped, or it ends."""
    return Load(parsec.port, run, clients=2, batch=24, spool=True, pause_s=0.03, tenants=TENANTS).start()


def more(load: Load, parsec: Parsec, events: int = 480) -> None:
    load.wait_for(len(load.acknowledged) + events, lambda: parsec.process.poll() is None, 60)


def assert_each_once(parsec: Parsec, *loads: Load) -> None:
    """Found through any member: everything that was acknowledged, nothing twice, nothing from nowhere."""
    acknowledged = set[str]().union(*(load.acknowledged for load in loads))
    unanswered = {each for load in loads for each in (*load.unanswered, *load.refused_ids)}
    until(lambda: acknowledged <= set(all_of(parsec)), parsec)
    found = Counter(all_of(parsec))
    assert not [answer for load in loads for answer in load.wrong_answers]
    twice = {name for name, times in found.items() if times > 1}
    assert not twice, f"{len(twice)} events are stored more than once"
    assert not found.keys() - acknowledged - unanswered, "events came from nowhere"

    def agrees() -> bool:
        _, recount = parsec.get("/admin/audit")  # with what the group has committed as of a moment ago
        return (recount["difference"], recount["not_recounted"]) == (0, 0)

    until(agrees, parsec)


@pytest.mark.parametrize("end", ["kill9", "SIGTERM", "pause"])
def test_a_member_that_ends_or_sleeps_under_load_is_taken_over_from(group: Group, end: str) -> None:
    with group.member("a") as one, group.member("b") as other:
        loads = [loaded(one, "one"), loaded(other, "other")]
        until(lambda: bool(partitions_of(one)) and bool(partitions_of(other)), one)
        more(loads[0], one)
        more(loads[1], other)
        if end == "kill9":
            other.kill()
        elif end == "SIGTERM":
            assert other.terminate() == 0
        else:
            other.process.send_signal(signal.SIGSTOP)
        slept = time.monotonic()
        more(loads[0], one)
        until(lambda: len(partitions_of(one)) == PARTITIONS, one)
        if end == "pause":
            time.sleep(max(0.0, MAX_POLL_S + 1 - (time.monotonic() - slept)))
            other.process.send_signal(signal.SIGCONT)  # it wakes with batches in hand that are no longer its own
            loads.append(loaded(other, "awake"))
            more(loads[2], other)
            until(lambda: bool(partitions_of(other)) and len(partitions_of(one)) < PARTITIONS, one)
        for load in loads:
            load.stop()
        assert_each_once(one, *loads)


def test_a_third_member_joins_under_load(group: Group) -> None:
    with group.member("a") as one, group.member("b") as other:
        loads = [loaded(one, "one"), loaded(other, "other")]
        more(loads[0], one)
        with group.member("c") as third:
            until(lambda: bool(partitions_of(third)), third)
            loads.append(loaded(third, "third"))
            more(loads[2], third)
            assert third.terminate() == 0
        more(loads[0], one)
        for load in loads:
            load.stop()
        assert_each_once(other, *loads)


def test_each_role_is_a_process_of_its_own(group: Group) -> None:
    with (
        group.member("i", PARSEC_ROLE="ingest", STORAGE_BACKEND="embedded", CLICKHOUSE_URL="") as ingest,
        group.member("p", PARSEC_ROLE="process") as process,
        group.member("q", PARSEC_ROLE="query") as query,
    ):
        tenant = TENANTS[1]
        with Reader(query.port, tenant) as live:
            load = loaded(ingest, "roles")
            more(load, ingest, 960)
            load.stop()
            assert_each_once(query, load)
            stored = sorted(each["id"] for each in query.search(tenant))
            live.wait(lambda reader: len(reader.events) >= len(stored))
        assert sorted(each["id"] for each in live.events) == stored
        until(lambda: query.get(f"/query/events?tenant={TENANT}-1&limit=1")[1]["complete_until"] is not None, query)
        assert len(partitions_of(process)) == PARTITIONS
        # Of all partitions, by a process that reads none.
        until(lambda: query.get("/admin/audit")[1]["recounted"] >= len(load.acknowledged), query)
        assert ingest.get(f"/query/events?tenant={TENANT}-1")[0] == 404
        assert query.ingest([event("no")])[0] == 503
        assert process.ingest([event("no")])[0] == 503
        for parsec in (ingest, process, query):
            assert parsec.get("/readyz")[0] == 200
            assert parsec.terminate() == 0
