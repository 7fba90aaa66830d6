"""`parsec bench`: what it says of the server's counts, and how it ends."""

import json
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from parsec.api.audit import Audit
from parsec.api.status import (
    ChannelStats,
    DedupStats,
    LedgerStats,
    LogStats,
    ProducerStats,
    SpoolStats,
    StatsAnswer,
    StoreStats,
    WorkerStats,
)
from parsec.cli import main
from parsec.cli.bench import processed_stats
from parsec.client import Client, RetryPolicy
from parsec.loadgen.load import in_flight
from tests.support.answering import Answering, Reply, accepted, problem, refused
from tests.support.manual_clock import ManualClock
from tests.support.process import free_port

NO_LEDGER: dict[str, int] = {}


def stats(
    published: int, ledger: dict[str, Any] | None = None, buffered: int = 0, spooled: int = 0, started_at: str = ""
) -> Reply:
    """The answer of /stats when everything published was stored, unless `ledger` says otherwise."""
    if ledger is None:
        ledger = {"stored": published, "duplicate": 0, "dead": 0, "lost": 0, "in_flight": 0}
    answer = StatsAnswer(
        WorkerStats(published, 0),
        ProducerStats(published, 0, 0),
        ChannelStats(buffered, 10_000, 0, 1 << 20),
        SpoolStats(0, 0, 0, spooled),
        msgspec.convert(ledger, LedgerStats),
        DedupStats(0, 0, 0, 0.0),
        LogStats(0),
        StoreStats(0, 0, 0, 0, 0),
        started_at=started_at,
    )
    return Reply(200, msgspec.json.encode(answer))


def taken(events: int) -> Reply:
    return accepted(events)


def run(url: str, *arguments: str, key: str | None = None) -> Result:
    environment = {"PARSEC_URL": None, "PARSEC_API_KEY": key}
    plan = ("--connections", "1", "--batch", "5", "--count", "10", "--settle", "0")
    return CliRunner(env=environment).invoke(main, ["bench", "--url", url, *plan, *arguments])


def test_counts_that_agree(server: Answering) -> None:
    server.will(stats(100), taken(5), taken(5), stats(110))
    result = run(f"{server.url}/logs", key="k-1")
    assert (result.exit_code, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert report["counts_agree"] is True
    assert (report["accepted"], report["server"]) == (10, {"published": 10, "processed": 10, "stored": 10})
    assert [asked.path for asked in server.asked] == ["/logs/stats", *["/logs/ingest?ack=durable"] * 2, "/logs/stats"]
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer k-1"}


def positions(end: int) -> dict[str, Any]:
    counts = {"stored": end, "duplicate": 0, "dead": 0, "lost": 0}
    partition = {"partition": 0, "log_id": "l", "start": 0, "committed": end, "end": end, "difference": 0, "lag": 0}
    return counts | {"in_flight": 0, "partitions": [partition | counts]}


@pytest.mark.parametrize(
    ("end", "difference", "agree", "why"),
    [
        (510, 0, True, ""),
        (509, 0, False, "the server made 9 events durable, but accepted 10"),
        (510, 3, False, "the store and the ledger differ by 3"),
    ],
)
def test_a_server_that_restarts_is_compared_by_its_ledger_and_an_audit(
    server: Answering, end: int, difference: int, agree: bool, why: str
) -> None:
    before, after = stats(500, positions(500), started_at="t1"), stats(3, positions(end), started_at="t2")
    audit = Reply(200, msgspec.json.encode(Audit(difference, 0, end, [])))
    server.will(before, taken(5), taken(5), Reply(503), after, Reply(503), audit)
    result = run(server.url, "--settle", "5")
    report = json.loads(result.stdout)
    assert (report["restarted"], report["counts_agree"]) == (True, agree)
    assert (result.exit_code, server.asked[-1].path) == (0 if agree else 1, "/admin/audit")
    assert why in result.stderr


@pytest.mark.parametrize("published", [105, 110])
def test_what_may_still_arrive_may_be_counted_or_not(server: Answering, published: int) -> None:
    late = refused(503, "not_durable")
    server.will(stats(100), taken(5), late, stats(published))
    result = run(server.url)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["unanswered"] == 5


@pytest.mark.parametrize(
    ("before", "after", "agree", "why"),
    [
        (stats(0), stats(9), False, "the server made 9 events durable, but accepted 10 and left 0"),
        (stats(0), stats(10, {"stored": 9, "in_flight": 0}), False, "the server processed 9 events"),
        (stats(0, NO_LEDGER), stats(10, NO_LEDGER), None, "no ledger"),
        (stats(0), stats(10, {"stored": 7, "in_flight": 3}), None, "after the run 3 events"),
        (stats(0), stats(8, buffered=2), None, "after the run 2 events"),
        (stats(7, {"stored": 0, "in_flight": 7}), stats(17), None, "before the run 7 events"),
    ],
    ids=["published", "processed", "no ledger", "in flight", "in the channel", "in flight before"],
)
def test_why_counts_do_not_agree(server: Answering, before: Reply, after: Reply, agree: bool | None, why: str) -> None:
    server.will(before, taken(5), taken(5), after)
    result = run(server.url)
    assert json.loads(result.stdout)["counts_agree"] is agree
    assert result.exit_code == 1
    assert why in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_key_that_may_not_see_the_counts_may_send_all_the_same(server: Answering) -> None:
    hidden = problem(403, "missing_scope")
    server.will(hidden, taken(5), taken(5), hidden)
    result = run(server.url, key="k-1")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["accepted"], report["server"], report["counts_agree"]) == (1, 10, None, None)
    assert "scope admin" in result.stderr


def test_it_waits_until_all_is_processed(server: Answering) -> None:
    server.will(stats(9, {"in_flight": 4}), stats(9, buffered=1), stats(9), stats(9, {"in_flight": 2}))
    clock = ManualClock()
    with Client(server.url) as client:
        retry = RetryPolicy(clock, clock.advance)
        assert in_flight(processed_stats(client, 1.0, retry)) == 0
        assert clock.monotonic() == pytest.approx(0.2)
        assert in_flight(processed_stats(client, 1.0, retry)) == 2
        assert clock.monotonic() == pytest.approx(1.2, abs=0.15)


def test_what_waits_for_kafka_has_not_settled(server: Answering) -> None:
    server.will(stats(0, spooled=7), stats(7))
    clock = ManualClock()
    with Client(server.url) as client:
        counts = processed_stats(client, 1.0, RetryPolicy(clock, clock.advance))
    assert (counts.producer.messages_sent, in_flight(counts)) == (7, 0)


@pytest.mark.parametrize(
    "reply",
    [Reply(200, b"<html>"), Reply(200, b"{}"), Reply(200, b'{"producer":1}'), Reply(404), Reply(401), Reply(503)],
    ids=["html", "empty", "other", "404", "401", "503"],
)
def test_what_is_no_parsec_is_told_in_one_line(server: Answering, reply: Reply) -> None:
    server.will(reply)
    result = run(server.url)
    assert (result.exit_code, len(result.stderr.splitlines()), result.stdout) == (3, 1, "")
    assert len(server.asked) == 1


def test_requests_that_are_refused_for_good_end_it(server: Answering) -> None:
    server.will(stats(0), refused(413, "payload_too_large", "Less."))
    result = run(server.url)
    assert (result.exit_code, result.stderr) == (3, f"parsec: {server.url}: Less. (payload_too_large)\n")


def test_events_of_another_tenant_end_it_with_the_first_error_and_the_flag(server: Answering) -> None:
    error = {"index": 0, "id": None, "code": "tenant_mismatch", "field": "tenant_id", "message": "Not yours."}
    body = {"success": False, "accepted": 0, "rejected": 5, "ack": "durable", "errors": [error]}
    server.will(stats(0), Reply(400, json.dumps(body).encode()))
    result = run(server.url, key="k-1")
    assert result.exit_code == 1
    assert "Not yours. (tenant_mismatch); name the key's tenant with --tenant" in result.stderr


@pytest.mark.parametrize(("flags", "named"), [((), False), (("--tenant", "acme"), True)])
def test_without_the_flag_the_tenant_is_that_of_a_key_without_admin(
    server: Answering, flags: tuple[str, ...], named: bool
) -> None:
    server.will(problem(403, "missing_scope"), taken(5), taken(5), problem(403, "missing_scope"))
    run(server.url, *flags, key="k-1")
    assert (b'"tenant_id":"acme"' in server.asked[1].body, b'"tenant_id"' in server.asked[1].body) == (named, named)


def test_nobody_listens_and_no_address() -> None:
    away = run(f"http://127.0.0.1:{free_port()}")
    assert (away.exit_code, len(away.stderr.splitlines())) == (3, 1)
    wrong = run("ftp://127.0.0.1")
    assert wrong.exit_code == 2
    assert "is not a URL" in wrong.stderr
