"""`parsec export`: whole, broken off and gone on with."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from parsec.cli import main
from tests.support.answering import RANGE, Answering, Reply, page, problem
from tests.support.terminal import on_terminal

SEARCHED = "from 2026-11-23T11:00:00Z to 2026-11-23T12:00:01Z"


def events(*ids: str, cursor: str | None = None) -> Reply:
    return page(*({"id": each} for each in ids), cursor=cursor)


def run(server: Answering, output: Path, *more: str) -> Result:
    arguments = [
        "export",
        "x",
        "--url",
        server.url,
        "--tenant",
        "t",
        "--from",
        "-2h",
        *more,
        "--output",
        str(output),
        "--give-up-after",
        "0",
    ]
    return CliRunner(env={"PARSEC_TENANT": None, "PARSEC_API_KEY": None}).invoke(main, arguments)


def ids(output: Path) -> list[str]:
    return [json.loads(line)["id"] for line in output.read_bytes().splitlines()]


def test_every_page_is_written_oldest_first(server: Answering, tmp_path: Path) -> None:
    server.will(events("a", "b", cursor="c1"), events("c"))
    done = run(server, tmp_path / "out")
    assert (done.exit_code, done.stderr) == (0, f"3 events written to {tmp_path / 'out'}, {SEARCHED}\n"), done.output
    assert ids(tmp_path / "out") == ["a", "b", "c"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert server.asked[0].path == "/query/events?tenant=t&q=x&from=-2h&to=%2B25h&order=oldest&limit=1000"
    assert server.asked[1].path == "/query/events?tenant=t&q=x&from=-2h&to=%2B25h&order=oldest&limit=1000&cursor=c1"


def test_an_incomplete_answer_is_told_once(server: Answering, tmp_path: Path) -> None:
    server.will(page(cursor="c", missing=["node-2"]), page(missing=["node-2"]))
    assert run(server, tmp_path / "out").stderr.count("not complete: ") == 1


def test_a_broken_export_goes_on_where_it_stopped(server: Answering, tmp_path: Path) -> None:
    output = tmp_path / "out"
    server.will(events("a", cursor="c1"), Reply(503, headers={"Retry-After": "1"}))
    broken = run(server, output)
    assert broken.exit_code == 3
    assert "run the same command again to continue" in broken.stderr
    with output.open("ab") as file:
        file.write(b'{"id":"half')  # a page that a crash cut off
    server.replies.clear()
    server.will(events("b"))
    assert run(server, output).exit_code == 0
    assert ids(output) == ["a", "b"]
    assert "cursor=c1" in server.asked[-1].path


def test_what_is_there_is_not_written_over(server: Answering, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_bytes(b"mine\n")
    refused = run(server, output)
    assert (refused.exit_code, output.read_bytes(), server.asked) == (1, b"mine\n", [])
    output.unlink()
    server.will(events("a", cursor="c1"), Reply(503, headers={"Retry-After": "1"}))
    run(server, output)
    other = run(server, output, "--to", "-1h")
    assert other.exit_code == 1
    assert "belongs to another export" in other.stderr
    assert ids(output) == ["a"]
    (tmp_path / "out.begun").write_bytes(b"{")
    assert "cannot be read" in run(server, output).stderr


def test_a_file_that_cannot_be_written_is_named(server: Answering, tmp_path: Path) -> None:
    found = run(server, tmp_path / "no" / "where")
    assert (found.exit_code, server.asked) == (1, [])
    assert found.stderr == f"parsec: {tmp_path}/no/where cannot be written: No such file or directory\n"
    unfit = run(server, Path("/dev/full"))
    assert (unfit.exit_code, server.asked) == (1, [])
    assert "/dev/full cannot be written (Invalid argument); run the same command again" in unfit.stderr


def test_a_refusal_is_one_line(server: Answering, tmp_path: Path) -> None:
    server.will(problem(400, "invalid_query", "column 3"))
    refused = run(server, tmp_path / "out")
    assert (refused.exit_code, refused.stderr) == (1, "parsec: column 3 (invalid_query)\n")


def test_a_person_sees_how_much_of_it_is_done(server: Answering, tmp_path: Path) -> None:
    total = {"groups": [{"by": {}, "values": {"count": 2345}}], "complete_until": "t", "missing": [], **RANGE}
    server.will(Reply(200, json.dumps(total).encode()), events("a", cursor="c1"), events("b"))
    shown = on_terminal(
        "export", "x", "--url", server.url, "--tenant", "t", "--from", "-2h", "--output", str(tmp_path / "out")
    )
    assert "of about 2,345" in shown
    assert "2 events written" in shown
    assert server.asked[0].path == "/query/aggregate?tenant=t&q=x&from=-2h&to=%2B25h"
    assert ids(tmp_path / "out") == ["a", "b"]


def test_that_nobody_can_tell_how_much_there_is_is_no_reason_not_to_export(server: Answering, tmp_path: Path) -> None:
    server.will(problem(400, "query_too_expensive"), events("a"))
    assert "1 event written" in on_terminal("export", "--url", server.url, "--output", str(tmp_path / "out"))


def test_ctrl_c_says_how_to_go_on(server: Answering, tmp_path: Path) -> None:
    server.will(events("a", cursor="c1"), Reply(503, headers={"Retry-After": "50"}))
    command = [sys.executable, "-m", "parsec", "export", "--url", server.url, "--output", str(tmp_path / "out")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        server.wait_asked(2)
        os.kill(child.pid, signal.SIGINT)
        _, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (130, "parsec: interrupted; run the same command again to continue\n")
    assert ids(tmp_path / "out") == ["a"]


def test_everything_is_exported_unless_told_otherwise(server: Answering, tmp_path: Path) -> None:
    server.will(events("a"))
    arguments = ("export", "--url", server.url, "--tenant", "t", "--output", str(tmp_path / "out"))
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert server.asked[0].path == "/query/events?tenant=t&from=0&to=%2B25h&order=oldest&limit=1000"


def test_an_empty_export_says_where_the_events_are(server: Answering, tmp_path: Path) -> None:
    server.will(page(latest_event="2026-07-29T10:00:00Z"))
    found = run(server, tmp_path / "out")
    assert found.exit_code == 0
    assert found.stderr.splitlines() == [
        f"0 events written to {tmp_path / 'out'}, {SEARCHED}",
        f"parsec: no events {SEARCHED}; the tenant's latest event is from 2026-07-29T10:00:00Z: change the range with "
        "--from and --to",
    ]
