"""`parsec send` from the outside: what it posts, prints and returns."""

import gzip
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from click.testing import CliRunner, Result

from parsec.api.event_rules import missing
from parsec.cli import main
from parsec.client import IngestAnswer, IngestError
from parsec.ingest.look_alikes import advice
from tests.support.answering import Answering, Reply, accepted, problem, refused
from tests.support.process import free_port
from tests.support.waiting import without_waiting

CLEAN = {"PARSEC_TENANT": None, "PARSEC_API_KEY": None, "PARSEC_URL": None}


def run(server_url: str, *arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
    return CliRunner(env={**CLEAN, **(env or {})}).invoke(main, ["send", "--url", server_url, *arguments], input=stdin)


def took(count: int, *codes: str) -> Reply:
    return accepted(count, *(IngestError(n, None, code, "f", f"wrong\n{n}") for n, code in enumerate(codes)))


def test_batches_go_out_one_event_a_line(server: Answering) -> None:
    server.will(took(2), took(1))
    result = run(server.url, "--batch", "2", stdin='[{"a":1},{"a":2},\n{"a":3}]')
    assert result.exit_code == 0, result.output
    assert [asked.body for asked in server.asked] == [b'{"a":1}\n{"a":2}', b'{"a":3}']
    assert result.stdout.startswith("3 events: 3 accepted, durable, 0 rejected, ")


def test_a_file_is_read_and_defaults_stand_in_the_address(server: Answering, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_text('{"a":1}\n')
    server.will(took(1))
    result = run(server.url, str(path), "--tenant", "acme", "--source", "web")
    assert result.exit_code == 0, result.output
    assert server.asked[0].path == "/ingest?tenant_id=acme&source=web"


def test_text_lines_become_events(server: Answering, tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"one\n\xff two\n")
    server.will(took(2))
    result = run(server.url, str(path), "--tenant", "acme", "--severity", "warn")
    assert result.exit_code == 0, result.output
    first, second = (msgspec.json.decode(line) for line in server.asked[0].body.split(b"\n"))
    assert {name: first[name] for name in ("tenant_id", "severity", "source", "message")} == {
        "tenant_id": "acme",
        "severity": "warn",
        "source": "app.log",
        "message": "one",
    }
    assert first["timestamp"].endswith("Z")
    assert second["message"] == "\\xff two"


def test_text_without_a_tenant_is_wrong_use(server: Answering) -> None:
    server.will(took(1))
    result = run(server.url, stdin="a line\n")
    assert result.exit_code == 2
    assert "--tenant" in result.stderr
    assert server.asked == []


def test_with_a_key_the_key_names_the_tenant(server: Answering) -> None:
    server.will(took(1))
    result = run(server.url, stdin="a line\n", env={"PARSEC_API_KEY": "k-1"})
    assert result.exit_code == 0, result.output
    assert server.asked[0].headers["authorization"] == "Bearer k-1"
    assert "tenant_id" not in json.loads(server.asked[0].body)


def test_rejected_events_are_reported_by_line(server: Answering) -> None:
    server.will(took(1, "invalid_timestamp"), took(0, *["missing_field"] * 12))
    result = run(server.url, "--batch", "2", stdin='{"a":1}\n{"a":2}\n{"a":3}\n')
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert lines[0] == "line 1: invalid_timestamp (f): wrong\\n0"
    assert lines[1] == "line 3: missing_field (f): wrong\\n0"
    assert lines[10:] == ["and 3 more rejected"]
    assert result.stdout.startswith("14 events: 1 accepted, durable, 13 rejected")


@pytest.mark.parametrize(
    ("field", "has", "told"),
    [
        ("timestamp", "@t", "add --timestamp-field @t, or rename it."),
        ("message", "log line", "add --message-field 'log line', or rename it."),
        ("tenant_id", "org", "rename it to tenant_id. --tenant names one for all events."),
        ("tenant_id", "x", "every event needs one. --tenant names one for all events."),
    ],
)
def test_a_missing_field_is_mapped_by_a_flag(server: Answering, field: str, has: str, told: str) -> None:
    message = missing(field).message + advice({has: msgspec.Raw(b'"v"')}, field)
    answer = IngestAnswer(False, "durable", 0, 1, [IngestError(0, None, "missing_field", field, message)])
    server.will(Reply(200, msgspec.json.encode(answer)))
    result = run(server.url, stdin='{"a":1}\n')
    assert result.exit_code == 1
    assert told in result.stderr
    assert "URL" not in result.stderr


def test_a_request_that_is_refused_for_its_sender_stops_the_run(server: Answering) -> None:
    server.will(took(1), refused(403, "missing_scope", "Another key."))
    result = run(server.url, "--batch", "1", stdin='{"a":1}\n{"a":2}\n{"a":3}\n')
    assert result.exit_code == 1
    assert "Another key. (missing_scope)" in result.stderr
    assert result.stdout.startswith("1 event: 1 accepted")
    assert len(server.asked) == 2


def test_an_event_that_is_refused_alone_does_not_stop_the_run(server: Answering) -> None:
    server.will(took(1), refused(400, "invalid_json", "Not JSON."), refused(400, "no_events"), took(1))
    result = run(server.url, "--batch", "1", stdin='{"a":1}\nbroken\n[]\n{"a":3}\n')
    assert result.exit_code == 1
    assert result.stderr == "line 2: invalid_json: Not JSON.\n"
    assert result.stdout.startswith("3 events: 2 accepted, durable, 1 rejected")


def test_a_request_that_is_refused_for_one_event_is_sent_in_halves(server: Answering) -> None:
    too_large = refused(413, "payload_too_large", "Less.")
    server.will(too_large, took(2), too_large, took(1), too_large, took(1))
    result = run(server.url, "--batch", "4", stdin='{"a":1}\n{"a":2}\n{"a":3}\n{"a":4}\n{"a":5}\n')
    assert result.exit_code == 1
    assert [asked.body.count(b"\n") + 1 for asked in server.asked] == [4, 2, 2, 1, 1, 1]
    assert result.stderr == "line 4: payload_too_large: Less.\n"
    assert result.stdout.startswith("5 events: 4 accepted, durable, 1 rejected")


def test_blank_events_are_counted_apart(server: Answering) -> None:
    answer = IngestAnswer(True, "durable", 1, 0, [], blank=2)
    server.will(Reply(200, msgspec.json.encode(answer)), took(0, "missing_field"))
    result = run(server.url, "--batch", "3", stdin='{"a":1}\n{"a":2}\n{"a":3}\n{"a":4}\n')
    assert result.exit_code == 1
    assert result.stderr.startswith("line 4: ")
    assert result.stdout.startswith("4 events: 1 accepted, durable, 1 rejected, 2 blank, ")


def test_giving_up_has_its_own_exit_code() -> None:
    result = run(f"http://127.0.0.1:{free_port()}", "--timeout", "0", stdin='{"a":1}\n')
    assert result.exit_code == 3
    assert "gave up after 0 s" in result.stderr


def test_waiting_is_reported(server: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = without_waiting(monkeypatch, "send")
    server.will(problem(503, "unavailable", "The disk is full."), took(1))
    result = run(server.url, stdin='{"a":1}\n')
    assert result.exit_code == 0
    assert "The disk is full. (unavailable)" in result.stderr
    assert len(waiting.waits) == 1
    assert server.asked[0].body == server.asked[1].body


@pytest.mark.parametrize("arguments", [["--batch", "0"], ["no-such-file"], ["--url", "ftp://x"]])
def test_wrong_use_is_exit_2(arguments: list[str]) -> None:
    assert run("http://127.0.0.1:1", *arguments).exit_code == 2


def test_text_and_json_can_be_forced(server: Answering) -> None:
    server.will(took(1))
    assert run(server.url, "--text", "--tenant", "a", stdin='{"a":1}\n').exit_code == 0
    assert json.loads(server.asked[0].body)["message"] == '{"a":1}'
    assert run(server.url, "--json", stdin="broken\n").exit_code == 0
    assert server.asked[1].body == b"broken"


def test_a_truncated_gzip_file_is_sent_up_to_its_end(server: Answering, tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"  # the content counts, not the name
    path.write_bytes(gzip.compress(b'{"a":1}\n{"a":2}\n')[:-4])
    server.will(took(2))
    result = run(server.url, str(path))
    assert result.exit_code == 1
    assert server.asked[0].body == b'{"a":1}\n{"a":2}'
    assert result.stderr == "parsec: the input: the gzip data is truncated; everything before its end was sent\n"
    assert result.stdout.startswith("2 events: 2 accepted")


def test_a_binary_file_is_refused_and_other_files_are_sent(server: Answering, tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"SQLite format 3\0\x10\0")
    (tmp_path / "b.json").write_text('{"a":1}\n\n{"a":2}\n')
    server.will(took(1, "invalid_timestamp"))
    result = run(server.url, str(tmp_path / "a.db"), str(tmp_path / "b.json"))
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first.startswith(f"parsec: {tmp_path}/a.db: it looks like a SQLite database, which cannot be sent; ")
    assert second == f"{tmp_path}/b.json: line 1: invalid_timestamp (f): wrong\\n0"
    assert [asked.body for asked in server.asked] == [b'{"a":1}\n{"a":2}']


def test_events_of_a_line_with_several_are_reported_by_line(server: Answering) -> None:
    server.will(accepted(3, IngestError(2, None, "invalid_timestamp", "timestamp", "No.")))
    result = run(server.url, stdin='{"a":1}\n\n{"a":2}{"a":3}\n{"a":4}\n')
    assert result.stderr == "line 3: invalid_timestamp (timestamp): No.\n"


def test_a_line_that_is_too_long_is_a_bad_line_of_many(server: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parsec.client.body_splitter.MAX_INPUT_EVENT_BYTES", 1 << 16)
    server.will(took(2))
    result = run(server.url, "--tenant", "acme", stdin="one\n" + "x" * (1 << 18) + "\nthree\n")
    assert result.exit_code == 1
    assert result.stderr.startswith("line 2: event_too_large: an event is larger than ")
    assert result.stdout.startswith("3 events: 2 accepted, durable, 1 rejected")


def test_a_list_that_never_ends_is_refused_after_what_it_began_with(
    server: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parsec.client.body_splitter.MAX_INPUT_VALUE_BYTES", 1 << 16)
    server.will(took(1))
    result = run(server.url, stdin='[{"a":1},{"b":"' + "x" * (1 << 18))
    assert result.exit_code == 1
    assert result.stderr.startswith("parsec: the input: an event is larger than ")
    assert server.asked[0].body == b'{"a":1}'


def test_names_of_fields_stand_in_the_address(server: Answering) -> None:
    server.will(took(1))
    flags = [
        "--message-field",
        "log,msg",
        "--timestamp-field",
        "ts",
        "--severity-field",
        "lvl",
        "--source-field",
        "svc",
    ]
    assert run(server.url, *flags, stdin='{"a":1}\n').exit_code == 0
    assert parse_qs(urlsplit(server.asked[0].path).query) == {
        "message_field": ["log,msg"],
        "timestamp_field": ["ts"],
        "severity_field": ["lvl"],
        "source_field": ["svc"],
    }


LOG = "2026-07-29 12:00:00,123 ERROR declined\n\tat Pay.java:7\nhello\n"


def sent(server: Answering) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.asked[0].body.split(b"\n")]


def test_lines_have_the_time_and_the_level_at_their_beginning(server: Answering) -> None:
    server.will(took(3))
    result = run(server.url, "--tenant", "acme", "--zone", "+02:00", stdin=LOG)
    assert result.exit_code == 0, result.output
    assert [event["timestamp"] for event in sent(server)] == ["2026-07-29T10:00:00.123Z"] * 3
    assert [event["severity"] for event in sent(server)] == ["error", "error", "info"]
    assert [event["message"] for event in sent(server)] == LOG.splitlines()
    assert server.asked[0].path == "/ingest?tenant_id=acme"
    assert result.stderr == ""


def test_lines_without_a_time_are_counted(server: Answering) -> None:
    server.will(took(3))
    result = run(server.url, "--tenant", "acme", stdin="hello\nworld\n2026-07-29 12:00:00Z x\n")
    assert result.stderr == "2 lines without a recognised time got the time of reading\n"


def test_the_assumed_zone_is_reported(server: Answering) -> None:
    server.will(took(3))
    result = run(server.url, "--tenant", "acme", stdin=LOG)
    assert re.search(r"times without a zone were read as local time \(now [+-]\d{4}\); --zone changes", result.stderr)


def test_time_and_level_can_be_given(server: Answering) -> None:
    server.will(took(3))
    result = run(server.url, "--tenant", "acme", "--text", "--timestamp", "now", "--severity", "debug", stdin=LOG)
    assert result.exit_code == 0, result.output
    assert {event["severity"] for event in sent(server)} == {"debug"}
    assert not [event for event in sent(server) if event["timestamp"].startswith("2026-07-29T12")]
    assert "without a" not in result.stderr


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "+2", "+24:00", "-01:60", ""])
def test_an_unknown_time_zone_is_a_usage_error(zone: str) -> None:
    result = run("http://127.0.0.1:1", "--zone", zone, stdin="x")
    assert result.exit_code == 2
    said = "is not a time zone; use local, utc, +02:00, or a name such as Europe/Berlin"
    assert said in " ".join(result.stderr.split())


DOCKER = '{"log":"WARN slow\\n","stream":"stdout","time":"2026-07-29T12:00:00Z"}'


def test_a_known_format_is_seen_by_its_shape_and_completed(server: Answering, tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    path.write_text(DOCKER + "\n" + '{"a":1}' + "\n" + '{"level":30,"time":1785326400123,"msg":"hi","pid":1}' + "\n")
    server.will(took(3))
    result = run(server.url, "--severity", "debug", str(path))
    assert result.exit_code == 0, result.output
    first, second, third = sent(server)
    assert (first["severity"], first["source"], first["message"]) == ("warn", "web.log", "WARN slow\n")
    assert second == {"a": 1}
    assert (third["timestamp"], third["severity"], third["source"]) == (1785326400123, "info", "web.log")


def test_one_value_may_become_many_events_of_its_line(server: Answering) -> None:
    records = [{"body": {"stringValue": str(n)}} for n in range(3)]
    line = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]})
    server.will(accepted(2, IngestError(2, None, "event_too_large", None, "Less.")))
    result = run(server.url, stdin='\n{"a":1}\n' + line + "\n")
    assert len(sent(server)) == 4
    assert result.stderr == "line 3: event_too_large: Less.\n"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--format", "docker"], "the object has no log, so it is not of the format docker; try --format auto"),
        (["--format", "otlp"], "the object has no resourceLogs, so it is not of the format otlp; try --format auto"),
    ],
)
def test_an_object_of_another_format_is_named_by_its_line(server: Answering, arguments: list[str], why: str) -> None:
    result = run(server.url, *arguments, stdin='{"a":1}\n')
    assert (result.exit_code, result.stderr) == (1, f"line 1: wrong_format: {why}\n")
    assert server.asked == []


@pytest.mark.parametrize(
    "flags", [["--format", "ndjson"], ["--message-field", "log"], ["--json", "--source-field", "stream"]]
)
def test_json_of_our_own_or_with_named_fields_is_sent_as_it_is(server: Answering, flags: list[str]) -> None:
    server.will(took(1))
    assert run(server.url, *flags, stdin=DOCKER + "\n").exit_code == 0
    assert server.asked[0].body == DOCKER.encode()


@pytest.mark.parametrize(
    "flags",
    [
        ["--text", "--format", "docker"],
        ["--text", "--message-field", "log"],
        ["--format", "pino", "--message-field", "log"],
    ],
)
def test_flags_that_contradict_each_other_are_wrong_use(flags: list[str]) -> None:
    result = run("http://127.0.0.1:1", *flags, stdin="x\n")
    assert result.exit_code == 2
    assert "leave out --format" in result.stderr


def test_text_is_a_format(server: Answering) -> None:
    server.will(took(1))
    assert run(server.url, "--format", "text", "--tenant", "a", stdin=DOCKER + "\n").exit_code == 0
    assert sent(server)[0]["message"] == DOCKER


def test_json_of_a_known_shape_among_lines_of_text_is_read_as_such(server: Answering) -> None:
    server.will(took(3))
    result = run(server.url, "--tenant", "acme", stdin="Listening on 8080\n" + DOCKER + '\n{"a":1}\n')
    assert result.exit_code == 0, result.output
    assert [event["message"] for event in sent(server)] == ["Listening on 8080", "WARN slow\n", '{"a":1}']
