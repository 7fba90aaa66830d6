"""`parsec query` in a pipe and on a terminal (a real one: a pseudo-terminal with the real process on it)."""

import json

from click.testing import CliRunner, Result

from parsec.cli import main
from tests.support.answering import Answering, Reply
from tests.support.process import free_port
from tests.support.terminal import on_terminal

EVENT = {
    "timestamp": "2026-11-23T12:00:00.5Z",
    "severity": "error",
    "source": "api",
    "message": "bad\x1b[31m [red]\u202eline\nend",
    "metadata": {"n": 10**30},
}


def page(*events: object, cursor: str | None = None, missing: tuple[str, ...] = ()) -> Reply:
    answer = {"events": events, "cursor": cursor, "complete_until": "2026-11-23T12:00:01Z", "missing": missing}
    return Reply(200, json.dumps(answer).encode())


def run(url: str, *arguments: str) -> Result:
    environment = {"PARSEC_TENANT": None, "PARSEC_API_KEY": None}
    return CliRunner(env=environment).invoke(main, ["query", "--url", url, *arguments])


def test_in_a_pipe_each_event_is_a_line_as_it_came(server: Answering) -> None:
    server.will(page(EVENT, EVENT, cursor="c"), page(EVENT))
    result = run(server.url, "--tenant", "acme", "--from", "-2h", "--limit", "3")
    assert result.exit_code == 0, result.output
    assert [json.loads(line) for line in result.stdout.splitlines()] == [EVENT] * 3
    assert server.asked[0].path == "/query/events?tenant=acme&from=-2h&limit=3"
    assert server.asked[1].path == "/query/events?tenant=acme&from=-2h&limit=1&cursor=c"
    assert result.stderr == ""


def test_on_a_terminal_nothing_a_message_holds_can_act(server: Answering) -> None:
    server.will(page(EVENT))
    shown = on_terminal("query", "--url", server.url, "--tenant", "acme")
    assert "bad\\x1b[31m [red]\\u202eline\\nend" in shown
    assert "\u202e" not in shown
    assert "\x1b[31merror" in shown
    assert "1 event" in shown
    assert '{"n": 1000000000000000000000000000000}' in shown


def test_no_color_is_heeded(server: Answering) -> None:
    server.will(page(EVENT))
    assert "\x1b[31m" not in on_terminal("query", "--url", server.url, "--tenant", "acme", NO_COLOR="1")


def test_what_is_missing_is_said(server: Answering) -> None:
    server.will(page(missing=("node-2",)))
    result = run(server.url, "--tenant", "acme")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert 'missing: ["node-2"]' in result.stderr


def test_an_expression_is_sent_as_it_is_with_every_page(server: Answering) -> None:
    server.will(page(EVENT, cursor="c"), page(EVENT))
    result = run(server.url, "severity:error a&b", "--tenant", "acme", "--limit", "2")
    assert result.exit_code == 0, result.output
    assert server.asked[0].path == "/query/events?tenant=acme&q=severity%3Aerror+a%26b&limit=2"
    assert server.asked[1].path == "/query/events?tenant=acme&q=severity%3Aerror+a%26b&limit=1&cursor=c"


def test_a_refused_question_and_no_answer_have_exit_codes(server: Answering) -> None:
    server.will(Reply(400, b'{"code":"invalid_time","detail":"from is no time."}'))
    refused = run(server.url, "--tenant", "acme", "--from", "x")
    assert (refused.exit_code, refused.stderr) == (1, "parsec: from is no time. (invalid_time)\n")
    away = run(f"http://127.0.0.1:{free_port()}", "--tenant", "acme")
    assert away.exit_code == 3
    assert "refused" in away.stderr
