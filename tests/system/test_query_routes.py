"""Histogram, figures, fields, one event and its surroundings on the real process."""

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from parsec.cli import main
from tests.support.load import event
from tests.support.process import Parsec

RANGE = "tenant=q&from=2026-01-01T00:00:00Z&to=2026-01-01T00:10:00Z"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Sixty events of q, one each 10 s, by turns of two sources and three severities; the same of a stranger's."""
    directory: Path = tmp_path_factory.mktemp("query")
    with Parsec(directory / "data") as parsec:
        for tenant in ("q", "stranger"):
            events = [
                event(f"e/{n}", tenant, f"line {n}")
                | {
                    "timestamp": f"2026-01-01T00:{n // 6:02d}:{n % 6}0Z",
                    "severity": ("info", "warn", "error")[n % 3],
                    "source": ("api", "web")[n % 2],
                    "metadata": {"ms": n, "user": {"id": n % 4}},
                }
                for n in range(60)
            ]
            assert parsec.ingest(events)[1]["accepted"] == 60
        parsec.wait_processed()
        parsec.wait_compared()
        yield parsec


def asked(parsec: Parsec, path: str) -> Any:
    status, answer = parsec.get(path)
    assert status == 200, answer
    assert answer["missing"] == []
    assert datetime.fromisoformat(answer["complete_until"]).tzinfo is not None
    return answer


def test_an_answer_names_its_range_and_an_empty_one_the_latest_event(filled: Parsec) -> None:
    searched, empty = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:10:00Z"}, "tenant=q&to=2025-01-01"
    for path in ("events", "histogram", "aggregate", "fields", "fields/source/values"):
        answer = asked(filled, f"/query/{path}?{RANGE}")
        assert {"from": answer["from"], "to": answer["to"]} == searched
        assert answer["latest_event"] is None
        nothing = asked(filled, f"/query/{path}?{empty}")
        assert (nothing["from"], nothing["latest_event"]) == ("2024-12-31T23:00:00Z", "2026-01-01T00:09:50Z")
        assert asked(filled, f"/query/{path}?tenant=unknown&to=2025-01-01")["latest_event"] is None
    first = asked(filled, f"/query/events?{RANGE}&limit=1")
    second = asked(filled, f"/query/events?tenant=q&limit=1&cursor={first['cursor']}")
    assert {"from": second["from"], "to": second["to"]} == searched


def test_a_histogram_counts_each_minute_by_a_field(filled: Parsec) -> None:
    answer = asked(filled, f"/query/histogram?{RANGE}&interval=60&by=source")
    assert answer["interval_s"] == 60
    assert answer["buckets"] == [
        {"start": f"2026-01-01T00:{n:02d}:00Z", "count": 6, "by": {"api": 3, "web": 3}} for n in range(10)
    ]
    assert sum(bucket["count"] for bucket in asked(filled, f"/query/histogram?{RANGE}")["buckets"]) == 60


def test_figures_come_in_groups_the_greatest_first(filled: Parsec) -> None:
    answer = asked(filled, f"/query/aggregate?{RANGE}&metric=count&metric=max(metadata.ms)&by=severity&by=source&top=2")
    assert len(answer["groups"]) == 2
    assert [group["values"]["count"] for group in answer["groups"]] == [10, 10]
    assert set(answer["groups"][0]["by"]) == {"severity", "source"}
    everything = asked(filled, f"/query/aggregate?{RANGE}&q=severity:error")
    assert everything["groups"] == [{"by": {}, "values": {"count": 20}}]


def test_fields_and_their_values(filled: Parsec) -> None:
    fields = {each["name"]: each["count"] for each in asked(filled, f"/query/fields?{RANGE}")["fields"]}
    assert fields["metadata.user.id"] == fields["severity"] == 60
    answer = asked(filled, f"/query/fields/metadata.user.id/values?{RANGE}&limit=2")
    assert answer["values"] == [{"value": "0", "count": 15}, {"value": "1", "count": 15}]


def test_one_event_and_what_its_source_said_around_it(filled: Parsec) -> None:
    found = asked(filled, "/query/events/e%2F30?tenant=q")["event"]
    assert (found["id"], found["message"], found["tenant_id"]) == ("e/30", "line 30", "q")
    around = asked(filled, f"/query/events/{quote('e/30', safe='')}/context?tenant=q&before=2&after=3")
    assert [each["id"] for each in around["before"]] == ["e/26", "e/28"]
    assert around["event"] == found
    assert [each["id"] for each in around["after"]] == ["e/32", "e/34", "e/36"]
    for path in ("/query/events/e%2F30?tenant=nobody", "/query/events/none/context?tenant=q"):
        assert (filled.get(path)[0], filled.get(path)[1]["code"]) == (404, "not_found")


def test_order_and_fields_of_events_are_chosen(filled: Parsec) -> None:
    answer = asked(filled, f"/query/events?{RANGE}&order=oldest&fields=id,metadata.ms&limit=2")
    assert answer["events"] == [{"id": "e/0", "metadata.ms": 0}, {"id": "e/1", "metadata.ms": 1}]


def test_lines_and_csv_have_all_events_in_order_without_a_limit(filled: Parsec) -> None:
    many = [event(f"m-{n}", "many", f"line, {n}\n") | {"timestamp": "2026-01-01T00:00:00Z"} for n in range(2500)]
    assert filled.ingest(many)[1]["accepted"] == 2500
    filled.wait_processed()
    question = "/query/events?tenant=many&from=2026-01-01T00:00:00Z"
    status, headers, body = filled.request("GET", question, headers={"Accept": "application/x-ndjson, */*"})
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    assert datetime.fromisoformat(headers["parsec-complete-until"]).tzinfo is not None
    assert sorted(json.loads(line)["id"] for line in body.splitlines()) == sorted(str(each["id"]) for each in many)
    _, headers, body = filled.request(
        "GET", f"{question}&format=csv&fields=id,message,metadata.user_id,metadata.path,metadata.none&limit=1500"
    )
    assert headers["content-type"].startswith("text/csv")
    rows = list(csv.reader(io.StringIO(body.decode(), newline="")))
    assert rows[0] == ["id", "message", "metadata.user_id", "metadata.path", "metadata.none"]
    assert len({row[0] for row in rows[1:]}) == len(rows) - 1 == 1500
    assert all(row[1:] == [f"line, {row[0][2:]}", "42", "/users/42", ""] for row in rows[1:])


def test_lines_with_a_limit_name_the_next_page_in_their_head(filled: Parsec) -> None:
    asked_for = f"/query/events?{RANGE}&fields=id&limit=25"
    pages: list[bytes] = []
    cursor = ""
    while not pages or cursor:
        form = ("ndjson", "csv")[len(pages) % 2]  # a cursor fits either
        path = f"{asked_for}&format={form}" + (f"&cursor={cursor}" if cursor else "")
        status, headers, body = filled.request("GET", path)
        assert (status, headers["parsec-missing"]) == (200, "[]")
        pages.append(body)
        cursor = headers.get("parsec-cursor", "")
    ids = [json.loads(line)["id"] for body in pages[::2] for line in body.splitlines()]
    ids += [line for body in pages[1::2] for line in body.decode().splitlines()[1:]]
    assert (len(pages), sorted(ids)) == (3, sorted(f"e/{n}" for n in range(60)))


def test_an_export_has_each_event_once_oldest_first(filled: Parsec, tmp_path: Path) -> None:
    many = [event(f"x-{n}", "export") | {"timestamp": f"2026-01-01T00:{n % 60:02d}:00Z"} for n in range(2500)]
    assert filled.ingest(many)[1]["accepted"] == 2500
    filled.wait_processed()
    where = ["--url", f"http://127.0.0.1:{filled.port}", "--tenant", "export", "--from", "2026-01-01"]
    done = CliRunner().invoke(main, ["export", *where, "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    found = [json.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()]
    assert sorted(each["id"] for each in found) == sorted(str(each["id"]) for each in many)
    assert [each["timestamp"] for each in found] == sorted(each["timestamp"] for each in found)


@pytest.mark.parametrize(("path", "code", "field"), [
    ("/query/events?tenant=q&format=xml", "invalid_parameter", "format"),
    ("/query/events?tenant=q&format=csv&q=(", "invalid_query", "q"),
    ("/query/histogram?tenant=q&by=colour", "invalid_parameter", "by"),
    ("/query/histogram?tenant=q&limit_groups=3", "missing_parameter", "by"),
    ("/query/histogram?tenant=q&interval=x", "invalid_parameter", "interval"),
    ("/query/histogram?tenant=q&from=0&interval=1", "invalid_parameter", "interval"),
    ("/query/aggregate?tenant=q&metric=sum(source)", "invalid_parameter", "metric"),
    ("/query/aggregate?tenant=q&by=a.b", "invalid_parameter", "by"),
    ("/query/aggregate?tenant=q&top=0", "invalid_parameter", "top"),
    ("/query/aggregate?tenant=q" + "&metric=count" * 11, "invalid_parameter", "metric"),
    ("/query/aggregate?tenant=q&by=id&by=source&by=node&by=region", "invalid_parameter", "by"),
    ("/query/events?tenant=q&fields=" + "id," * 51, "invalid_parameter", "fields"),
    ("/query/fields?from=-1h", "missing_parameter", "tenant"),
    ("/query/fields?tenant=q&tenant=r", "invalid_parameter", "tenant"),
    ("/query/fields/colour/values?tenant=q", "invalid_parameter", "name"),
    ("/query/events?tenant=q&order=up", "invalid_parameter", "order"),
    ("/query/events/x?tenant=q&q=y", "unknown_parameter", "q"),
    ("/query/events/x/context?tenant=q&before=1001", "invalid_parameter", "before"),
])  # fmt: skip
def test_a_bad_question_names_its_parameter(filled: Parsec, path: str, code: str, field: str) -> None:
    status, answer = filled.get(path)
    assert (status, answer.get("code"), answer.get("field")) == (400, code, field), answer


def test_an_id_may_end_like_another_address(filled: Parsec) -> None:
    filled.ingest([event("a", "odd"), event("a/context", "odd")])
    filled.wait_processed()
    assert asked(filled, "/query/events/a%2Fcontext?tenant=odd")["event"]["id"] == "a/context"
    assert asked(filled, "/query/events/a%2Fcontext/context?tenant=odd")["event"]["id"] == "a/context"
    assert asked(filled, "/query/events/a/context?tenant=odd")["event"]["id"] == "a"


def test_an_id_may_hold_slashes_and_line_breaks(filled: Parsec) -> None:
    odd = "a/b\nc\u2028d"
    filled.ingest(event(odd, "odd"))
    filled.wait_processed()
    found = asked(filled, f"/query/events/{quote(odd, safe='')}?tenant=odd")
    assert found["event"]["id"] == odd
    assert asked(filled, f"/query/events/{quote(odd, safe='')}/context?tenant=odd")["event"]["id"] == odd
