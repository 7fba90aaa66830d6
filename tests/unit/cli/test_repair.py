"""`parsec repair`: what it shows, and its exit codes."""

import json
import sys
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from parsec.api.repair import RepairStatus, StoreGap
from parsec.cli import main
from tests.support.answering import Answering, Reply, problem
from tests.support.terminal import on_terminal

GAP = StoreGap(0, "log", 0, 1200, 1198, 2, None, "2026-11-30T12:00:00Z")
LOST = StoreGap(0, "log", 0, 400, 400, 0, "2026-11-29T00:00:00Z", "2026-11-30T12:00:00Z")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["parsec.cli.repair"], "_POLL_S", 0.0)


def answers(*steps: RepairStatus) -> list[Reply]:
    return [Reply(200, msgspec.json.encode(step)) for step in steps]


def run(*arguments: str) -> Result:
    return CliRunner(env={"PARSEC_API_KEY": None, "PARSEC_DATA_DIR": None}).invoke(main, ["repair", *arguments])


def test_it_follows_a_repair_to_its_end(server: Answering) -> None:
    storing = RepairStatus("storing", 1200, 300, 20_000, [GAP])
    server.will(*answers(RepairStatus("waiting"), RepairStatus("comparing"), storing, storing))
    server.will(*answers(RepairStatus("idle", 0, 1200)))
    result = run("--url", server.url)
    assert result.exit_code == 0, result.output
    assert [json.loads(line)["phase"] for line in result.stdout.splitlines()] == [
        "waiting", "comparing", "storing", "idle",
    ]  # fmt: skip
    assert "1,200 events stored again" in result.stderr
    assert "nothing is missing" in result.stderr
    assert [(one.method, one.path) for one in server.asked][:2] == [
        ("POST", "/admin/repair"),
        ("GET", "/admin/repair"),
    ]


def test_a_step_of_the_repair_that_failed_is_waited_for(server: Answering) -> None:
    server.will(*answers(RepairStatus("storing", 1200, 0, 0, [GAP], problem="no space"), RepairStatus("idle")))
    assert run("--url", server.url).exit_code == 0


def test_what_could_not_be_brought_back_is_named(server: Answering) -> None:
    server.will(*answers(RepairStatus("waiting"), RepairStatus("idle", 0, 800, 0, (), [LOST])))
    result = run("--url", server.url)
    assert result.exit_code == 1
    assert "400 events could not be restored" in result.stderr
    assert "partition 0, offsets 0 to 399: 400, received from 2026-11-29T00:00:00Z until" in result.stderr


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (answers(RepairStatus("waiting", problem="no answer"))[0], 3, "could not be compared: no answer"),
        (problem(403, "missing_scope", "The key lacks admin."), 1, "admin"),
        (problem(503, "unavailable", "Later.", retry_after="1"), 3, ""),
    ],
)
def test_it_ends_with_words_when_it_cannot(server: Answering, reply: Reply, code: int, said: str) -> None:
    server.will(reply)
    result = run("--url", server.url)
    assert result.exit_code == code, result.output
    assert said in result.stderr


def test_on_a_terminal_it_prints_no_json(server: Answering) -> None:
    server.will(*answers(RepairStatus("waiting"), RepairStatus("idle", 0, 7)))
    shown = on_terminal("repair", "--url", server.url)
    assert "7 events stored again" in shown
    assert "{" not in shown


def test_offline_where_there_is_no_log_is_said_on_one_line(tmp_path: Any) -> None:
    result = run("--offline", "--data-dir", str(tmp_path))
    assert (result.exit_code, result.stdout) == (3, "")
    assert "has no log" in result.stderr


def test_a_directory_is_for_offline_only(tmp_path: Any) -> None:
    assert run("--data-dir", str(tmp_path)).exit_code == 2
