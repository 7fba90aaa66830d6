"""Health, stats, metrics and queries on the real process."""

import gzip
import json
import time
from datetime import datetime
from pathlib import Path

import prometheus_client.parser as prometheus
import pytest
from prometheus_client.openmetrics import parser as openmetrics

from parsec.telemetry import Telemetry
from tests.support.load import TENANT, event
from tests.support.process import Parsec
from tests.support.sabotaged import under


def test_health_tells_of_every_part(parsec: Parsec) -> None:
    status, health = parsec.get("/health")
    assert (status, health["status"]) == (200, "healthy")
    assert datetime.fromisoformat(health["timestamp"]).tzinfo is not None
    assert set(health["checks"]) == {"log", "channel", "worker", "processor", "store", "stored_events", "data_dir"}
    assert parsec.get("/livez")[0] == parsec.get("/readyz")[0] == 200


def test_stats_add_up(parsec: Parsec) -> None:
    before = parsec.stats()
    assert parsec.ingest([event(f"stats-{n}", "stats") for n in range(7)])[1]["accepted"] == 7
    parsec.wait_processed()
    after = parsec.stats()
    assert after["worker"]["processed"] - before["worker"]["processed"] == 7
    assert after["worker"]["failed"] == 0
    assert after["tenants"]["stats"] == {"stored": 7}
    assert parsec.ingest([event(f"stats-{n}", "stats") for n in range(5, 9)])[1]["accepted"] == 4
    parsec.wait_processed()
    assert parsec.stats()["tenants"]["stats"] == {"stored": 9, "duplicate": 2}
    assert after["producer"]["messages_sent"] - before["producer"]["messages_sent"] == 7
    assert after["producer"]["bytes_written"] > before["producer"]["bytes_written"]
    assert after["channel"] == {"buffered": 0, "capacity": 10_000, "buffered_bytes": 0, "capacity_bytes": 64 << 20}
    ledger = after["ledger"]
    assert ledger["committed"] - ledger["start"] == sum(
        ledger[fate] for fate in ("stored", "duplicate", "dead", "lost")
    )
    assert (ledger["difference"], ledger["in_flight"]) == (0, 0)


def test_metrics_are_in_prometheus_text(parsec: Parsec) -> None:
    parsec.ingest(event("metric-1"))
    parsec.ingest(b"{}")
    status, text = parsec.get("/metrics")
    assert status == 200
    assert b"parsec_ingest_events_accepted_total" in text
    assert b'parsec_ingest_events_rejected_total{reason="missing_field"}' in text


def test_metrics_are_openmetrics_to_whoever_asks(parsec: Parsec) -> None:
    parsec.ingest(event("metric-2"))
    _, headers, plain = parsec.request("GET", "/metrics")
    assert headers["content-type"].startswith("text/plain; version=")
    asked = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
    _, headers, text = parsec.request("GET", "/metrics", headers=asked)
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")
    as_open = {family.name for family in openmetrics.text_string_to_metric_families(text.decode())}  # type: ignore[no-untyped-call]
    as_plain = {family.name for family in prometheus.text_string_to_metric_families(plain.decode())}
    assert as_open == as_plain == {metric.name.removesuffix("_total") for metric in Telemetry().catalogue}


def test_metrics_tell_of_tenants_and_of_the_process(parsec: Parsec) -> None:
    parsec.ingest([event("metric-3", "metrics"), event("metric-4", "metrics") | {"timestamp": "soon"}])
    parsec.wait_processed()
    families = prometheus.text_string_to_metric_families(parsec.get("/metrics")[1].decode())
    found = {(sample.name, *sorted(sample.labels.items())): sample.value for one in families for sample in one.samples}
    of = ("tenant", "metrics")
    assert found["parsec_ingest_tenant_events_accepted_total", of] == 1
    assert found["parsec_ingest_tenant_events_rejected_total", ("reason", "invalid_timestamp"), of] == 1
    assert found["parsec_process_tenant_events_total", ("fate", "stored"), of] == 1
    assert found["parsec_process_commit_latency_seconds_count",] > 0
    assert (found["parsec_ready",], found["parsec_channel_capacity_events",]) == (1, 10_000)
    assert found["parsec_disk_free_bytes",] > 0
    assert 0 <= found["parsec_process_searchable_age_seconds",] < 60
    assert found["process_resident_memory_bytes",] > 50 << 20


def test_paging_gives_each_event_once_newest_first(parsec: Parsec) -> None:
    sent = [event(f"page-{n}", "pages") | {"timestamp": f"2026-01-01T00:00:{n % 10:02d}Z"} for n in range(57)]
    parsec.ingest(sent)
    parsec.wait_processed()
    found = parsec.search("pages", limit=10)
    assert sorted(e["id"] for e in found) == sorted(str(e["id"]) for e in sent)
    times = [e["timestamp"] for e in found]
    assert times == sorted(times, reverse=True)


def test_a_range_is_inclusive_and_exclusive(parsec: Parsec) -> None:
    parsec.ingest([event(f"range-{n}", "ranges") | {"timestamp": f"2026-01-01T00:00:0{n}Z"} for n in range(5)])
    parsec.wait_processed()
    status, page = parsec.get("/query/events?tenant=ranges&from=2026-01-01T00:00:01Z&to=2026-01-01T00:00:03Z")
    assert status == 200
    assert [e["id"] for e in page["events"]] == ["range-2", "range-1"]
    assert page["cursor"] is None
    assert page["missing"] == []
    assert datetime.fromisoformat(page["complete_until"]).tzinfo is not None


def test_one_tenant_never_sees_another(parsec: Parsec) -> None:
    parsec.ingest([event("mine", "tenant-a"), event("yours", "tenant-b")])
    parsec.wait_processed()
    assert [e["id"] for e in parsec.search("tenant-a")] == ["mine"]
    assert [e["id"] for e in parsec.search("tenant-b")] == ["yours"]
    assert parsec.search("nobody") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "tenant"),
        ("?tenant=a&limit=0", "limit"),
        ("?tenant=a&limit=10001", "limit"),
        ("?tenant=a&limit=x", "limit"),
        ("?tenant=a&from=tomorrowish", "from"),
        ("?tenant=a&cursor=%00", "cursor"),
        ("?tenant=a&colour=red", "colour"),
    ],
)
def test_a_wrong_question_is_answered_with_the_parameter(parsec: Parsec, query: str, field: str) -> None:
    status, headers, body = parsec.request("GET", f"/query/events{query}")
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert f'"field":"{field}"'.encode() in body


def test_other_addresses_are_problems_too(parsec: Parsec) -> None:
    status, headers, body = parsec.request("GET", "/nothing")
    assert (status, headers["content-type"]) == (404, "application/problem+json")
    assert b"not_found" in body
    assert parsec.request("DELETE", "/health")[0] == 405


def test_logs_tell_the_life_and_requests_only_when_asked(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", under(STATS_INTERVAL_S=1), PARSEC_DISK_RESERVE="0", PARSEC_LOG_LEVEL="debug") as one:
        one.ingest(event("logged-1"))
        one.ingest(gzip.compress(json.dumps(event("logged-2")).encode()), headers={"Content-Encoding": "gzip"})
        one.ingest(b"{", headers={"X-Tenant-ID": "other"})
        one.get("/query/events/a-secret-id?tenant=Acme")
        one.get("/query/events?q=nobodys")
        one.get("/not/there")
        time.sleep(1.5)
        assert one.terminate() == 0
        lines = [json.loads(line) for line in one.logs().splitlines()]
    said = [line["event"] for line in lines]
    assert said[0] == "Starting."
    assert said[-1] == "Stopped."
    assert {"Serving.", "Stopping.", "Stats."} <= set(said)
    answered = [line for line in lines if line["event"] == "Request answered."]
    assert all(line["level"] == "debug" and 0 <= line["ms"] < 30_000 for line in answered)
    told = [tuple(line[name] for name in ("method", "route", "status", "tenant")) for line in answered]
    assert [each for each in told if each[1] != "/readyz"] == [
        ("POST", "/ingest", 200, TENANT),
        ("POST", "/ingest", 200, TENANT),
        ("POST", "/ingest", 400, "other"),
        ("GET", "/query/events/{id}", 404, "acme"),
        ("GET", "/query/events", 400, ""),
        ("GET", "unknown", 404, ""),
    ]
    assert [line["accepted"] for line in answered if line["route"] == "/ingest"] == [1, 1, 0]
    assert "a-secret-id" not in one.logs()
    assert not [line for line in lines if line["level"] in ("warning", "error")]


def test_no_request_is_logged_above_debug(parsec: Parsec) -> None:
    assert parsec.ingest(event("quiet-1"))[0] == 200
    assert "Request answered." not in parsec.logs()


def test_dead_letters_are_asked_for_by_tenant(parsec: Parsec) -> None:
    assert parsec.get("/deadletters?tenant=nobody") == (200, {"dead_letters": [], "cursor": None})
    for path, code, field in (
        ("/deadletters", "missing_parameter", "tenant"),
        ("/deadletters?tenant=a&tenant=b", "invalid_parameter", "tenant"),
        ("/deadletters?tenant=a&order=up", "unknown_parameter", "order"),
        ("/deadletters?tenant=a&limit=0", "invalid_parameter", "limit"),
        ("/deadletters?tenant=a&cursor=x", "invalid_cursor", "cursor"),
        ("/deadletters/log/0/-1?tenant=a", "invalid_parameter", "offset"),
        ("/deadletters/log/4294967296/0?tenant=a", "invalid_parameter", "partition"),
    ):
        status, answer = parsec.get(path)
        assert (status, answer["code"], answer["field"]) == (400, code, field), path
    assert parsec.get("/deadletters/log/0/18446744073709551615?tenant=a")[0] == 404
