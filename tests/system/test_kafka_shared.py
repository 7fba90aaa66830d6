"""Several processes on one Kafka and one store: whoever of them ends, each acknowledged event is found exactly once.

The store is chDB behind tests.support.clickhouse_front, which speaks the server's HTTP interface.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.clickhouse_front import clickhouse_front
from tests.support.kafka_parsec import on_kafka, until
from tests.support.kafka_server import KafkaServer, kafka_server
from tests.support.load import TENANT, event
from tests.support.process import Parsec
from tests.support.tailing import Reader

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PARTITIONS = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    with kafka_server(tmp_path_factory.mktemp("kafka")) as running:
        yield running


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
            "PARSEC_KAFKA_OPTIONS": "session.timeout.ms=6000,max.poll.interval.ms=8000",
        }
        return on_kafka(self._server, self.topic, self._directory / name, **(wanted | settings))


@pytest.fixture
def group(server: KafkaServer, tmp_path: Path) -> Iterator[Group]:
    (tmp_path / "store").mkdir()
    with clickhouse_front(tmp_path / "store") as store:
        yield Group(server, store.url, tmp_path)


def partitions_of(parsec: Parsec) -> set[int]:
    return {each["partition"] for each in parsec.stats()["ledger"].get("partitions", ())}


def all_of(parsec: Parsec) -> list[str]:
    return [each["id"] for number in range(12) for each in parsec.search(f"{TENANT}-{number}")]


def send_all(parsec: Parsec, run: str, rounds: int) -> set[str]:
    """Acknowledged ids, spread over the partitions by their tenants."""
    acknowledged = set()
    for turn in range(rounds):
        names = [f"{run}-{turn}-{n}" for n in range(24)]
        events = [event(name, tenant=f"{TENANT}-{n % 12}") for n, name in enumerate(names)]
        status, answer = parsec.ingest(events)
        if status == 200 and answer["accepted"] == len(names):
            acknowledged |= set(names)
    return acknowledged


def wait_found(parsec: Parsec, wanted: set[str]) -> None:
    until(lambda: wanted <= set(all_of(parsec)), parsec)
    twice = {name for name, times in Counter(all_of(parsec)).items() if times > 1}
    assert not twice, f"{len(twice)} events are stored more than once"
    _, recount = parsec.get("/admin/audit")
    assert (recount["difference"], recount["not_recounted"]) == (0, 0), recount


@pytest.mark.parametrize("end", ["kill9", "SIGTERM", "pause"])
def test_a_member_that_ends_or_sleeps_is_taken_over_from(group: Group, end: str) -> None:
    with group.member("a") as one, group.member("b") as other:
        sent = send_all(one, "begin", 20)
        until(lambda: bool(partitions_of(one)) and bool(partitions_of(other)), one)
        sent |= send_all(one, "before", 60)
        if end == "kill9":
            other.kill()
        elif end == "SIGTERM":
            assert other.terminate() == 0
        else:
            other.process.send_signal(signal.SIGSTOP)
        sent |= send_all(one, "while", 60)
        until(lambda: len(partitions_of(one)) == PARTITIONS, one)
        wait_found(one, sent)
        if end == "pause":
            other.process.send_signal(signal.SIGCONT)  # it wakes with batches in hand that are no longer its own
            sent |= send_all(one, "after", 60)
            until(lambda: bool(partitions_of(other)) and len(partitions_of(one)) < PARTITIONS, one)
            wait_found(other, sent)


def test_a_third_member_joins_under_load(group: Group) -> None:
    with group.member("a") as one, group.member("b") as other:
        sent = send_all(one, "begin", 30)
        with group.member("c") as third:
            sent |= send_all(other, "join", 60)
            until(lambda: bool(partitions_of(third)), third)
            sent |= send_all(third, "joined", 60)
            wait_found(third, sent)
            assert third.terminate() == 0
        sent |= send_all(one, "left", 30)
        wait_found(other, sent)


def test_each_role_is_a_process_of_its_own(group: Group) -> None:
    with (
        group.member("i", PARSEC_ROLE="ingest", STORAGE_BACKEND="embedded", CLICKHOUSE_URL="") as ingest,
        group.member("p", PARSEC_ROLE="process") as process,
        group.member("q", PARSEC_ROLE="query") as query,
    ):
        tenant = f"{TENANT}-1"
        with Reader(query.port, tenant) as live:
            sent = send_all(ingest, "roles", 40)
            assert len(sent) == 40 * 24
            wait_found(query, sent)
            stored = sorted(each["id"] for each in query.search(tenant))
            live.wait(lambda reader: len(reader.events) >= len(stored))
        assert sorted(each["id"] for each in live.events) == stored
        until(lambda: query.get(f"/query/events?tenant={TENANT}-1&limit=1")[1]["complete_until"] is not None, query)
        assert len(partitions_of(process)) == PARTITIONS
        # Of all partitions, by a process that reads none.
        until(lambda: query.get("/admin/audit")[1]["recounted"] == len(sent), query)
        assert ingest.get(f"/query/events?tenant={TENANT}-1")[0] == 404
        assert query.ingest([event("no")])[0] == 503
        assert process.ingest([event("no")])[0] == 503
        for parsec in (ingest, process, query):
            assert parsec.get("/readyz")[0] == 200
            assert parsec.terminate() == 0
