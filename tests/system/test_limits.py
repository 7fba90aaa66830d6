"""Limits of tenants on the real process: counts and statuses, no speed."""

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.load import event
from tests.support.process import Parsec

CONFIG = """
limit-events-per-s = 10

[tenants.big]
limit-events-per-s = 1e6

[tenants.weighed]
limit-events-per-s = 0
limit-bytes-per-s = 1000
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("limits") / "parsec.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def parsec(config: Path) -> Iterator[Parsec]:
    with Parsec(config.parent / "data", PARSEC_CONFIG=str(config)) as running:
        yield running
        assert running.terminate() == 0


def events(tenant: str, count: int, run: str = "") -> list[dict[str, object]]:
    return [event(f"{tenant}-{run}-{n}", tenant) for n in range(count)]


def metric(parsec: Parsec, name: str) -> float:
    lines = parsec.get("/metrics")[1].decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)), 0.0)


def test_who_has_nothing_left_is_told_when_to_come_again(parsec: Parsec) -> None:
    assert parsec.ingest(events("told", 30))[0] == 200
    body = json.dumps(events("told", 5, "more")).encode()
    status, headers, raw = parsec.request("POST", "/ingest", body)
    answer = json.loads(raw)
    assert status == 429
    assert answer["accepted"] == 0
    assert answer["errors"][0]["code"] == "rate_limited"
    assert answer["errors"][0]["retryable"] is True
    assert 1 <= int(headers["retry-after"]) <= 2
    assert headers["ratelimit-limit"] == "20"
    assert headers["ratelimit-remaining"] == "0"
    assert headers["ratelimit-reset"] == headers["retry-after"]
    assert headers["ratelimit-policy"] == '20;w=2;unit="events"'
    assert metric(parsec, 'parsec_ingest_tenant_limited_requests_total{budget="events",tenant="told"}') >= 1
    assert metric(parsec, 'parsec_ingest_events_rejected_total{reason="rate_limited"}') >= 1
    time.sleep(int(headers["retry-after"]))
    assert parsec.ingest(body)[0] == 200
    parsec.wait_processed()
    assert len(parsec.search("told")) == 35


def test_the_others_and_those_with_limits_of_their_own_go_on(parsec: Parsec) -> None:
    assert parsec.ingest(events("flood", 5000))[0] == 200
    for n in range(20):
        assert parsec.ingest(events("flood", 10, f"again-{n}"))[0] == 429
        assert parsec.ingest(events("calm", 1, str(n)))[0] == 200
        assert parsec.ingest(events("big", 500, str(n)))[0] == 200


def test_a_request_of_several_tenants_is_refused_whole_and_takes_nothing_of_the_others(parsec: Parsec) -> None:
    assert parsec.ingest(events("spent", 5000))[0] == 200
    for n in range(50):
        status, answer = parsec.ingest(events("shared", 10, str(n)) + events("spent", 1, "more"))
        assert (status, answer["accepted"]) == (429, 0)
        assert "spent" in answer["errors"][0]["message"]
    assert parsec.ingest(events("shared", 10, "alone"))[0] == 200
    parsec.wait_processed()
    assert len(parsec.search("shared")) == 10


@pytest.mark.parametrize("size", [1000, 200_000], ids=["small", "large"])
def test_a_body_is_refused_before_it_is_read_when_a_header_names_the_tenant(parsec: Parsec, size: int) -> None:
    assert parsec.ingest(events("weighed", 500, str(size)))[0] in (200, 429)  # the second time it is spent already
    body = b"this is no JSON" + b" " * size
    status, headers, raw = parsec.request("POST", "/ingest", body, {"X-Tenant-ID": "Weighed"})
    assert (status, json.loads(raw)["errors"][0]["code"]) == (429, "rate_limited")
    assert headers["ratelimit-policy"] == '2000;w=2;unit="bytes"'
    if size < 64 << 10:
        return
    connection = http.client.HTTPConnection("127.0.0.1", parsec.port, timeout=10)
    connection.putrequest("POST", "/ingest")
    connection.putheader("X-Tenant-ID", "weighed")
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    assert connection.getresponse().status == 429
    connection.close()


def test_a_flood_that_names_itself_in_events_is_refused_before_they_are_looked_at(parsec: Parsec) -> None:
    assert parsec.ingest(events("unread", 5000))[0] == 200
    invalid = [{"tenant_id": "unread"}]
    assert parsec.ingest(events("unread", 1, "more"))[0] == 429
    assert parsec.ingest(invalid)[0] == 429
    broken_later = json.dumps(events("unread", 1000, "large"))[:-1].encode() + b", nonsense]"
    assert len(broken_later) > 256 << 10
    assert parsec.ingest(broken_later)[0] == 429


def test_requests_without_a_valid_event_are_charged_to_the_tenant_that_a_header_names(parsec: Parsec) -> None:
    headers = {"X-Tenant-ID": "nonsense"}
    statuses = [parsec.ingest(b"nonsense", headers=headers)[0] for _ in range(40)]
    assert statuses[:20] == [400] * 20
    assert 429 in statuses[20:]


def test_a_change_of_the_file_holds_without_a_restart_and_a_fault_in_it_changes_nothing(
    parsec: Parsec, config: Path
) -> None:
    assert parsec.ingest(events("changed", 5000))[0] == 200
    assert parsec.ingest(events("changed", 1, "more"))[0] == 429
    config.write_text(CONFIG + "[tenants.changed]\nlimit-events-per-s = nonsense\n")
    wait_for_log(parsec, "has faults")
    assert parsec.ingest(events("changed", 1, "more"))[0] == 429
    config.write_text(CONFIG + "[tenants.changed]\nlimit-events-per-s = 0\n")
    wait_for_log(parsec, "Tenant limits reloaded from the settings file")
    assert parsec.ingest(events("changed", 1000, "again"))[0] == 200
    assert parsec.ingest(events("changed", 1000, "and again"))[0] == 200


def wait_for_log(parsec: Parsec, text: str) -> None:
    end = time.monotonic() + 10
    while text not in parsec.logs():
        assert time.monotonic() < end, f"not logged: {text}"
        time.sleep(0.05)
