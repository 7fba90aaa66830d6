"""`parsec query` in a pipe and on a terminal (a real one: a pseudo-terminal with the real process on it)."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from parsec.cli import main
from tests.support.answering import Answering, page, problem
from tests.support.process import free_port
from tests.support.terminal import on_terminal

EVENT = {
    "timestamp": "2026-11-23T12:00:00.5Z",
    "severity": "error",
    "source": "api",
    "message": "bad\x1b[31m [red]\u202eline\nend",
    "metadata": {"n": 10**30},
}


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
    assert "not complete: node-2" in result.stderr


def test_what_was_missing_on_any_page_is_said_once(server: Answering) -> None:
    server.will(page(EVENT, cursor="c", missing=("node-2",)), page(EVENT, cursor="d", missing=("node-2",)), page(EVENT))
    assert run(server.url, "--tenant", "acme", "--limit", "3").stderr.count("not complete: ") == 1


def test_a_person_is_told_until_when_an_answer_is_complete(server: Answering) -> None:
    server.will(page(EVENT, cursor="c"))
    shown = on_terminal("query", "--url", server.url, "--tenant", "acme", "--limit", "1")
    searched = "from 2026-11-23T11:00:00Z to 2026-11-23T12:00:01Z"
    assert f"1 event {searched}; complete until 2026-11-23T12:00:01Z; there are more, see --limit" in shown


def test_an_expression_is_sent_as_it_is_with_every_page(server: Answering) -> None:
    server.will(page(EVENT, cursor="c"), page(EVENT))
    result = run(server.url, "severity:error a&b", "--tenant", "acme", "--limit", "2")
    assert result.exit_code == 0, result.output
    assert server.asked[0].path == "/query/events?tenant=acme&q=severity%3Aerror+a%26b&limit=2"
    assert server.asked[1].path == "/query/events?tenant=acme&q=severity%3Aerror+a%26b&limit=1&cursor=c"


def test_a_refused_question_and_no_answer_have_exit_codes(server: Answering) -> None:
    server.will(problem(400, "invalid_time", "from is no time."))
    refused = run(server.url, "--tenant", "acme", "--from", "x")
    assert (refused.exit_code, refused.stderr) == (1, "parsec: from is no time. (invalid_time)\n")
    away = run(f"http://127.0.0.1:{free_port()}", "--tenant", "acme")
    assert away.exit_code == 3
    assert "refused" in away.stderr


def test_a_mistake_is_pointed_at(server: Answering) -> None:
    server.will(problem(400, "invalid_query", "Column 7: severity is unknown; did you mean warn?"))
    refused = run(server.url, "a\x1b \u754c OR wern", "--tenant", "acme")
    assert refused.exit_code == 1
    said, shown, caret = refused.stderr.splitlines()
    assert said == "parsec: Column 7: severity is unknown; did you mean warn? (invalid_query)"
    assert shown == "  a\\x1b \u754c OR wern"
    assert caret == "  " + " " * len("a\\x1b XX O") + "^"


def test_what_to_show_and_in_which_order_is_asked_for(server: Answering) -> None:
    server.will(page({"id": "1", "metadata.a": 5}))
    result = run(server.url, "--tenant", "acme", "--fields", "id, metadata.a,", "--order", "oldest", "--output", "csv")
    assert result.stdout == "id,metadata.a\n1,5\n"
    assert server.asked[0].path == "/query/events?tenant=acme&order=oldest&fields=id%2Cmetadata.a&limit=100"


OUTPUTS = {
    "json": json.dumps(EVENT, ensure_ascii=False) + "\n",
    "raw": "bad\x1b[31m [red]\u202eline\nend\n",
    "csv": (
        "timestamp,severity,source,message,id,metadata\n"
        '2026-11-23T12:00:00.5Z,error,api,"bad\x1b[31m [red]\u202eline\nend",,'
        '"{""n"": 1000000000000000000000000000000}"\n'
    ),
    "table": (
        "timestamp               severity  source  message\n"
        "2026-11-23T12:00:00.5Z  error     api     "
        'bad\\x1b[31m [red]\\u202eline\\nend {"n": 1000000000000000000000000000000}\n'
    ),
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_each_output_in_a_pipe_is_exact_and_without_colour(server: Answering, output: str) -> None:
    server.will(page(EVENT))
    assert run(server.url, "--tenant", "acme", "--output", output).stdout == OUTPUTS[output]


def test_a_table_in_a_pipe_is_not_wrapped_and_its_columns_grow(server: Answering) -> None:
    long = EVENT | {"message": "word " * 200, "source": "a-much-longer-name"}
    server.will(page(EVENT, cursor="c"), page(long))
    lines = run(server.url, "--tenant", "acme", "--output", "table").stdout.splitlines()
    assert len(lines) == 3
    assert lines[2].index("word") == lines[2].index("a-much-longer-name") + len("a-much-longer-name  ")
    assert lines[2].count("word") == 200


@pytest.mark.parametrize("output", OUTPUTS)
def test_no_output_on_a_terminal_lets_an_event_act(server: Answering, output: str) -> None:
    server.will(page(EVENT))
    shown = on_terminal("query", "--url", server.url, "--tenant", "acme", "--output", output)
    assert "\u202e" not in shown
    assert "bad\x1b" not in shown
    if output == "json":
        assert json.loads(shown.splitlines()[0]) == EVENT


def test_a_table_on_a_terminal_has_milliseconds_unless_the_moment_is_asked_for(server: Answering) -> None:
    server.will(page(EVENT | {"timestamp": "2026-11-23T12:00:00.123456Z"}))
    shown = on_terminal("query", "--url", server.url, "--tenant", "acme")
    assert "2026-11-23T12:00:00.123Z  " in shown
    shown = on_terminal("query", "--url", server.url, "--tenant", "acme", "--fields", "timestamp,message")
    assert "2026-11-23T12:00:00.123456Z  " in shown


@pytest.mark.parametrize("columns", [30, 70, 140])
def test_a_table_fits_the_terminal_and_a_long_message_is_cut(server: Answering, columns: int) -> None:
    server.will(page(EVENT | {"message": "\u754cword" * 4000, "source": "s" * 200}))
    shown = on_terminal("query", "--url", server.url, "--tenant", "acme", NO_COLOR="1", COLUMNS=str(columns))
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in shown.splitlines()]
    wide = [len(line) + line.count("\u754c") for line in lines]
    assert columns - 6 <= max(wide[1:-1]) <= columns
    assert len(lines) < 20
    assert ("\u754cword" in lines[1]) == (columns == 140)
    assert "characters more; use --output json" in shown or columns == 30


def test_a_terminal_that_lacks_a_character_gets_its_escape(server: Answering) -> None:
    server.will(page(EVENT | {"message": "\u754c caf\u00e9"}))
    shown = on_terminal("query", "--url", server.url, "--tenant", "acme", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert "\\u754c caf\\xe9" in shown


def test_a_closed_pipe_ends_it_without_a_word(server: Answering) -> None:
    server.will(page(*[EVENT] * 1000, cursor="c"))
    command = [sys.executable, "-m", "parsec", "query", "--url", server.url, "--tenant", "t", "--limit", "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(30) == 141


def test_ctrl_c_ends_it_without_a_word(server: Answering) -> None:
    server.will(page(EVENT, cursor="c"))
    command = [sys.executable, "-m", "parsec", "query", "--url", server.url, "--tenant", "t", "--limit", "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        os.kill(child.pid, signal.SIGINT)
        _, said = child.communicate(timeout=30)
        assert (child.returncode, said) == (130, b"")
