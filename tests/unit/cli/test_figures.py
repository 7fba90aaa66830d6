"""`parsec histogram` and `parsec fields` in a pipe and on a terminal (a real one)."""

import json

import pytest
from click.testing import CliRunner, Result

from parsec.cli import main
from parsec.cli.histogram import bar
from tests.support.answering import RANGE, Answering, Reply, page, problem
from tests.support.terminal import on_terminal

BUCKETS = [
    {"start": "2026-01-01T00:00:00Z", "count": 0, "by": {}},
    {"start": "2026-01-01T00:01:00Z", "count": 1000, "by": {"bad\x1b[31m": 600}},
    {"start": "2026-01-01T00:02:00Z", "count": 1, "by": {}},
]


def reply(**answer: object) -> Reply:
    known = {"complete_until": "2026-01-01T00:00:00Z", "missing": []}
    return Reply(200, json.dumps(RANGE | known | answer).encode())


def run(*arguments: str) -> Result:
    return CliRunner(env={"PARSEC_TENANT": None, "PARSEC_API_KEY": None}).invoke(main, arguments)


def test_buckets_are_lines_in_a_pipe(server: Answering) -> None:
    server.will(reply(interval_s=60, buckets=BUCKETS))
    found = run("histogram", "a b", "--url", server.url, "--tenant", "t", "--interval", "60", "--by", "source")
    assert found.exit_code == 0, found.output
    assert [json.loads(line) for line in found.stdout.splitlines()] == BUCKETS[1:]
    searched = "from 2026-11-23T11:00:00Z to 2026-11-23T12:00:01Z"
    assert (
        found.stderr
        == f"1,001 events {searched}, 60 s per bar; 1 empty bar before and after not shown (--all shows them)\n"
    )
    assert server.asked[0].path == "/query/histogram?tenant=t&q=a+b&interval=60&by=source"


def test_bars_on_a_terminal_show_everything_above_nothing(server: Answering) -> None:
    server.will(reply(interval_s=60, buckets=BUCKETS))
    shown = on_terminal("histogram", "--url", server.url, "--tenant", "t")
    assert "bad\\x1b[31m:600" in shown
    assert "██████████" in shown
    assert "▏" in shown


def bucket(minute: int, count: int) -> dict[str, object]:
    return {"start": f"2026-01-01T00:{minute:02}:00Z", "count": count, "by": {}}


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        ([0, 0, 3, 0, 4, 0], [3, 0, 4]),
        ([1, 0, 0], [1]),
        ([0, 0, 1], [1]),
        ([0, 0], []),
        ([], []),
        ([2, 0, 2], [2, 0, 2]),
    ],
)
def test_empty_bars_before_and_after_are_left_out(server: Answering, counts: list[int], wanted: list[int]) -> None:
    buckets = [bucket(minute, count) for minute, count in enumerate(counts)]
    server.will(*[reply(interval_s=60, buckets=buckets)] * 3)
    found = run("histogram", "--url", server.url)
    assert [json.loads(line)["count"] for line in found.stdout.splitlines()] == wanted
    assert ("not shown (--all shows them)" in found.stderr) == (0 < len(wanted) < len(counts))
    assert len(run("histogram", "--url", server.url, "--all").stdout.splitlines()) == len(counts)
    shown = on_terminal("histogram", "--url", server.url)
    assert len([line for line in shown.splitlines() if line.startswith("2026-")]) == len(wanted)


@pytest.mark.parametrize(("count", "wanted"), [(0, ""), (1, "▏"), (500, "█████"), (550, "█████▌"), (1000, "█" * 10)])
def test_a_bar_is_as_long_as_its_share(count: int, wanted: str) -> None:
    assert bar(count, 1000, 10) == wanted


def test_fields_and_values_are_lines_in_a_pipe(server: Answering) -> None:
    server.will(reply(fields=[{"name": "source", "count": 3}]), reply(values=[{"value": "api", "count": 3}]))
    assert json.loads(run("fields", "--url", server.url, "--tenant", "t").stdout) == {"name": "source", "count": 3}
    found = run("fields", "--url", server.url, "--tenant", "t", "--values", "metadata.a/b", "--limit", "5")
    assert json.loads(found.stdout) == {"value": "api", "count": 3}
    assert server.asked[1].path == "/query/fields/metadata.a%2Fb/values?tenant=t&limit=5"


def test_fields_tell_what_is_missing(server: Answering) -> None:
    server.will(page(of="fields", missing=["node-2"]), page(of="values", missing=["node-2"]))
    for more in ((), ("--values", "source")):
        assert "not complete: node-2" in run("fields", "--url", server.url, *more).stderr


def test_a_line_of_bars_stays_one_line(server: Answering) -> None:
    server.will(reply(interval_s=60, buckets=[BUCKETS[1] | {"by": {"v" * 30 + str(n): n for n in range(9)}}]))
    shown = on_terminal("histogram", "--url", server.url, "--tenant", "t", COLUMNS="60")
    assert len(shown.splitlines()) == 2


def test_a_refusal_is_one_line(server: Answering) -> None:
    server.will(problem(400, "invalid_query", "column 3: what?"))
    for command in ("fields", "histogram"):
        found = run(command, "x", "--url", server.url)
        assert (found.exit_code, found.stderr) == (1, "parsec: column 3: what? (invalid_query)\n")


def test_a_table_on_a_terminal_hides_nothing(server: Answering) -> None:
    server.will(reply(values=[{"value": "a\u202eb", "count": 1234}]))
    shown = on_terminal("fields", "--url", server.url, "--tenant", "t", "--values", "source")
    assert "a\\u202eb" in shown
    assert "1,234" in shown


@pytest.mark.parametrize(
    ("latest", "where"),
    [
        (None, "the tenant has no events at all"),
        ("2026-11-23T11:30:00Z", "the tenant's latest event is from 2026-11-23T11:30:00Z"),
        (
            "2026-07-29T10:00:00.5Z",
            "the tenant's latest event is from 2026-07-29T10:00:00.5Z: change the range with --from and --to",
        ),
    ],
)
def test_an_empty_answer_names_its_range_and_the_latest_event(
    server: Answering, latest: str | None, where: str
) -> None:
    line = f"parsec: no events from 2026-11-23T11:00:00Z to 2026-11-23T12:00:01Z; {where}\n"
    for command, empty in (
        (("query",), page(latest_event=latest)),
        (("histogram",), reply(interval_s=60, buckets=BUCKETS[:1], latest_event=latest)),
        (("fields",), page(of="fields", latest_event=latest)),
        (("fields", "--values", "source"), page(of="values", latest_event=latest)),
    ):
        server.replies.clear()
        server.will(empty)
        assert run(*command, "--url", server.url, "--tenant", "t").stderr == line
