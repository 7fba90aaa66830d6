"""`parsec deadletters` in a pipe and on a terminal (a real one)."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from parsec.cli import main
from tests.support.answering import Answering, Reply, page, problem
from tests.support.terminal import on_terminal

LETTER = {
    "position": "log-1/0/7",
    "time": "2026-11-23T12:00:00.5Z",
    "tenant_id": "acme",
    "reason": "invalid_json",
    "stage": "rows",
    "detail": "bad\x1b[31m byte",
    "raw_bytes": 3,
}


def letters(*found: object, cursor: str | None = None) -> Reply:
    return page(*found, cursor=cursor, of="dead_letters")


def run(*arguments: str) -> Result:
    environment = {"PARSEC_TENANT": None, "PARSEC_API_KEY": None}
    return CliRunner(env=environment).invoke(main, ["deadletters", *arguments])


def test_a_list_in_a_pipe_follows_the_pages_up_to_the_limit(server: Answering) -> None:
    server.will(letters(LETTER, LETTER, cursor="c"), letters(LETTER, cursor="d"))
    result = run("list", "--url", server.url, "--tenant", "acme", "--reason", "invalid_json", "--limit", "3")
    assert result.exit_code == 0, result.output
    assert [json.loads(line) for line in result.stdout.splitlines()] == [LETTER] * 3
    assert "there are more" in result.stderr
    assert [asked.path for asked in server.asked] == [
        "/deadletters?tenant=acme&reason=invalid_json&limit=3",
        "/deadletters?tenant=acme&reason=invalid_json&limit=1&cursor=c",
    ]


def test_on_a_terminal_nothing_a_letter_holds_can_act(server: Answering) -> None:
    server.will(letters(LETTER))
    shown = on_terminal("deadletters", "list", "--url", server.url, "--tenant", "acme")
    assert "bad\\x1b[31m byte" in shown
    assert "log-1/0/7" in shown


@pytest.mark.parametrize("raw", [{"raw": "{,}\n"}, {"raw_base64": "eywKAP8="}])
def test_the_bytes_come_out_as_they_were(server: Answering, raw: dict[str, str]) -> None:
    server.will(Reply(200, json.dumps(LETTER | raw).encode()))
    result = run("show", "log-1/0/7", "--url", server.url, "--tenant", "acme")
    assert result.exit_code == 0, result.output
    assert result.stdout_bytes == (b"{,}\n" if "raw" in raw else b"{,\n\x00\xff")
    assert "invalid_json (rows): bad\\x1b[31m byte" in result.stderr
    assert server.asked[0].path == "/deadletters/log-1/0/7?tenant=acme"


def test_none_at_a_position_is_said_on_one_line(server: Answering) -> None:
    server.will(problem(404, "not_found", "There is no dead letter here."))
    result = run("show", "log-1/0/9", "--url", server.url)
    assert (result.exit_code, result.stderr) == (1, "parsec: There is no dead letter here. (not_found)\n")


def test_bytes_into_a_closed_pipe_end_without_a_word(server: Answering) -> None:
    server.will(Reply(200, json.dumps(LETTER | {"raw": "few bytes, which wait in a buffer"}).encode()))
    command = [sys.executable, "-m", "parsec", "deadletters", "show", "log-1/0/7", "--url", server.url]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=buffered) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        assert child.stderr.read().count("\n") == 1  # why it is a dead letter
        assert child.wait(30) == 141
