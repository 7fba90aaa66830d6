"""`parsec audit`: its exit codes, in a pipe and on a terminal (a real one)."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from parsec.cli import main
from tests.support.answering import Answering, Reply
from tests.support.terminal import on_terminal

FATES = {"stored": 9_000, "duplicate": 1, "dead": 0, "lost": 0}
SOUND: dict[str, Any] = {
    "partition": 0, "log_id": "log", "start": 0, "committed": 9001, "recounted_from": 0, "not_recounted": 0,
    "ledger": FATES, "found": FATES, "unbalanced": 0, "difference": 0, "where": [],
}  # fmt: skip
TAMPERED = SOUND | {
    "difference": 2,
    "found": FATES | {"stored": 8_999},
    "where": [{"first": 0, "end": 9001, "stored": -1, "dead": 0, "doubled": 1, "both": 0, "doubled_at": [7]}],
}


def answer(*partitions: dict[str, Any]) -> Reply:
    sums = {name: sum(each[name] for each in partitions) for name in ("difference", "not_recounted")}
    recounted = sum(each["committed"] - each["recounted_from"] for each in partitions)
    return Reply(200, json.dumps({**sums, "recounted": recounted, "partitions": partitions}).encode())


def run(*arguments: str) -> Result:
    return CliRunner(env={"PARSEC_API_KEY": None, "PARSEC_DATA_DIR": None}).invoke(main, ["audit", *arguments])


@pytest.mark.parametrize(
    ("partitions", "code", "said"),
    [
        ([SOUND], 0, "9,001 offsets recounted, no difference"),
        ([TAMPERED], 4, "a difference of 2"),
        ([SOUND, TAMPERED | {"partition": 1}], 4, "partition 1, offsets 0 to 9000: -1 stored, 1 doubled (7)"),
        ([SOUND | {"recounted_from": 5, "not_recounted": 5}], 0, "5 not recounted"),
        ([SOUND | {"recounted_from": 9001, "not_recounted": 9001}], 1, "9,001 not recounted"),
        ([SOUND | {"committed": 0}], 0, "0 offsets recounted, no difference"),
        ([], 1, "no partition"),
    ],
)
def test_the_exit_code_says_what_was_found(
    server: Answering, partitions: list[dict[str, Any]], code: int, said: str
) -> None:
    server.will(answer(*partitions))
    result = run("--url", server.url)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert len(json.loads(result.stdout)["partitions"]) == len(partitions)
    assert server.asked[0].path == "/admin/audit"


def test_on_a_terminal_it_is_a_table(server: Answering) -> None:
    server.will(answer(SOUND))
    shown = on_terminal("audit", "--url", server.url)
    assert shown.count("9,000") == 2, "the ledger's and what was found"
    assert not shown.lstrip().startswith("{")


def test_offline_where_there_is_no_log_is_said_on_one_line(tmp_path: Any) -> None:
    result = run("--offline", "--data-dir", str(tmp_path))
    assert (result.exit_code, result.stdout) == (3, "")
    assert "has no log" in result.stderr


def test_a_directory_goes_with_offline_alone(tmp_path: Any) -> None:
    assert run("--data-dir", str(tmp_path)).exit_code == 2
