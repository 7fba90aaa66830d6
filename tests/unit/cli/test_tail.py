"""`parsec tail` in a pipe and on a terminal, across connections."""

import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from parsec.cli import main
from tests.support.answering import Answering, Reply, problem
from tests.support.process import free_port
from tests.support.terminal import on_terminal
from tests.support.waiting import without_waiting

EVENT = (
    b'{"timestamp":"2026-11-23T12:00:00.5Z","severity":"error","source":"api","message":"bad\\u001b[31m \xe2\x80\xae!"}'
)
STREAM = Reply(200, b": from now on\n\ndata: " + EVENT + b'\n\nevent: gap\ndata: {"skipped":1234,"unchecked":5}\n\n')


NO = problem(400, "invalid_query", "Column 3: what is ) here?")


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch, "tail")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["tail", *arguments])


def test_events_go_to_the_pipe_and_gaps_to_standard_error(server: Answering) -> None:
    server.will(STREAM, STREAM, NO)
    found = run("a ) b", "--url", server.url, "--tenant", "t")
    assert found.exit_code == 1
    assert found.stdout_bytes == (EVENT + b"\n") * 2
    told = found.stderr.splitlines()
    assert told[0] == (
        "parsec: 1,234 matching events left out here, because they arrived too fast to print; "
        "5 events arrived too fast to check against the expression"
    )
    assert told[1].startswith("parsec: connecting again in 0.")
    assert told[2].startswith("parsec: connected again; events stored in the meantime are not shown")
    assert told[-3:] == ["parsec: Column 3: what is ) here? (invalid_query)", "  a ) b", "    ^"]
    assert server.asked[0].path == "/query/tail?tenant=t&q=a+%29+b"


def test_it_looks_as_a_query_does(server: Answering) -> None:
    server.will(STREAM, NO)
    shown = on_terminal("tail", "--url", server.url, "--tenant", "t", code=1)
    assert "\x1b[31merror" in shown
    assert "bad\\x1b[31m \\u202e!" in shown
    server.replies.clear()
    server.will(STREAM, NO)
    chosen = run("--url", server.url, "--output", "csv", "--fields", "source,message")
    assert chosen.stdout.splitlines()[0] == "source,message"


def test_nobody_there_at_the_start_is_told_at_once() -> None:
    found = run("--url", f"http://127.0.0.1:{free_port()}")
    assert (found.exit_code, found.stdout) == (3, "")


def test_ctrl_c_ends_it_without_a_word(server: Answering) -> None:
    server.will(Reply(200, b"data: " + EVENT + b"\n\n", {"Content-Length": "100000"}))
    command = [sys.executable, "-m", "parsec", "tail", "--url", server.url, "--tenant", "t"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["source"] == "api"
        os.kill(child.pid, signal.SIGINT)
        _, said = child.communicate(timeout=30)
        assert (child.returncode, said) == (130, b"")
