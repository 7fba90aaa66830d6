"""`parsec log`: verdicts and events out of a stopped log, by the command."""

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.adapters.log.offline import NO_LOG
from parsec.cli import main
from parsec.core.clock import SystemClock
from parsec.telemetry import Telemetry
from tests.support.logs import fill, segments
from tests.support.terminal import on_terminal

EVENTS = 60


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    log = opened(tmp_path / "data")
    fill(log, EVENTS // 5)
    log.close()
    return tmp_path / "data"


def opened(directory: Path) -> EmbeddedLog:
    return EmbeddedLog.open(directory, LogOptions(4096, 1 << 20, 3600.0, 0), SystemClock(), Telemetry())


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner(env={"PARSEC_CONFIG": None, "PARSEC_DATA_DIR": None, **(env or {})}).invoke(
        main, ["log", *arguments]
    )


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_a_sound_log_is_verified(data_dir: Path) -> None:
    result = run("verify", "--data-dir", str(data_dir))
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["file"] for row in rows] == [path.name for path in segments(data_dir)]
    assert {row["verdict"] for row in rows} == {"sound"}
    assert sum(row["events"] for row in rows) == EVENTS
    assert result.stderr == f"{len(rows)} files, {EVENTS} events: all sound\n"


def test_damage_is_an_exit_code_and_a_line(data_dir: Path) -> None:
    flip(segments(data_dir)[1])
    (data_dir / "segments" / "00000000000000000000.log.corrupt").write_bytes(b"earlier")
    result = run("verify", env={"PARSEC_DATA_DIR": str(data_dir)})
    assert result.exit_code == 1
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    (bad,) = [row for row in rows if row["verdict"] == "damaged"]
    assert (bad["log"], bad["file"], bad["missing"]) == ("log", segments(data_dir)[1].name, 5)
    assert bad["why"].startswith("damaged bytes in 1 places, first at byte ")
    assert "1 of 3 files damaged, 5 events missing" in result.stderr
    assert "1 damaged part was quarantined before" in result.stderr


def test_a_table_is_for_people(data_dir: Path) -> None:
    flip(segments(data_dir)[1])
    shown = on_terminal("log", "verify", "--data-dir", str(data_dir), code=1, NO_COLOR="1")
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).split() for line in shown.splitlines()]
    head = ["log", "file", "verdict", "first", "end", "events", "missing", "bytes", "why"]
    table = lines[lines.index(head) + 1 :]
    assert [line[1:3] for line in table[:3]] == [
        [path.name, "damaged" if n == 1 else "sound"] for n, path in enumerate(segments(data_dir))
    ]


def test_the_events_come_out_as_they_went_in(data_dir: Path, tmp_path: Path) -> None:
    result = run("export", "--data-dir", str(data_dir))
    assert result.exit_code == 0, result.output
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(events) == EVENTS
    assert {"v", "tenant_id", "id", "timestamp", "message", "metadata"} <= events[0].keys()
    assert result.stderr == f"{EVENTS} events written\n"
    target = tmp_path / "out.ndjson"
    part = run(
        "export", "--data-dir", str(data_dir), "--from-offset", "7", "--to-offset", "22", "--output", str(target)
    )
    assert (part.exit_code, part.stdout) == (0, "")
    assert target.read_text().splitlines() == result.stdout.splitlines()[7:22]


def test_lost_events_are_told_and_the_rest_is_written(data_dir: Path) -> None:
    flip(segments(data_dir)[0])
    result = run("export", "--data-dir", str(data_dir))
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == EVENTS - 5
    assert "parsec: 5 events before offset" in result.stderr
    assert result.stderr.endswith(f"{EVENTS - 5} events written, 5 lost\n")


def test_nothing_in_an_event_can_act_on_the_terminal(tmp_path: Path) -> None:
    log = opened(tmp_path)
    fill(log, 1, 1, message="a\x9b\u202eb")
    log.close()
    assert "a\\x9b\\u202eb" in on_terminal("log", "export", "--data-dir", str(tmp_path))


@pytest.mark.parametrize("command", ["verify", "export"])
def test_a_log_in_use_is_not_touched(data_dir: Path, command: str) -> None:
    log = opened(data_dir)
    result = run(command, "--data-dir", str(data_dir))
    log.close()
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr == (
        f"parsec: the data directory {data_dir} is in use by process {os.getpid()};"
        " stop it or choose another directory. Do not move or delete its files while it runs\n"
    )


@pytest.mark.parametrize("command", ["verify", "export"])
def test_where_no_log_is_that_is_said(tmp_path: Path, command: str) -> None:
    result = run(command, "--data-dir", str(tmp_path))
    assert (result.exit_code, result.stderr) == (3, f"parsec: {tmp_path} has no log: {NO_LOG}\n")


def test_a_target_that_cannot_be_written_is_named(data_dir: Path, tmp_path: Path) -> None:
    result = run("export", "--data-dir", str(data_dir), "--output", str(tmp_path / "no" / "where"))
    assert result.exit_code != 0
    assert "No such file or directory" in result.stderr
