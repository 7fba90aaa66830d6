"""`parsec export` from the real process, killed midway while events come in, and given again."""

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.support.load import event
from tests.support.process import Parsec

EVENTS = 12_000


def fill(parsec: Parsec, first: int, count: int) -> None:
    for at in range(first, first + count, 1_000):
        answer = parsec.ingest([event(f"x-{n}", "exported", f"line {n}") for n in range(at, at + 1_000)])[1]
        assert answer["accepted"] == 1_000


def test_an_export_that_is_killed_goes_on_and_has_each_event_once(parsec: Parsec, tmp_path: Path) -> None:
    fill(parsec, 0, EVENTS)
    parsec.wait_processed()
    output = tmp_path / "events.ndjson"
    note = tmp_path / "events.ndjson.begun"
    command = [sys.executable, "-m", "parsec", "export", "line", "--url", f"http://127.0.0.1:{parsec.port}",
               "--tenant", "exported", "--from", "-1h", "--output", str(output)]  # fmt: skip
    with subprocess.Popen(command) as killed:
        while not note.exists():
            assert killed.poll() is None, "it ended before it could be killed"
            time.sleep(0.001)
        killed.kill()
    assert 0 < len(output.read_bytes().splitlines()) < EVENTS
    fill(parsec, EVENTS, 1_000)  # an export without --to takes what comes meanwhile, too
    parsec.wait_processed()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(f"{EVENTS + 1_000:,} events written to {output}, from ")
    found = [json.loads(line)["id"] for line in output.read_bytes().splitlines()]
    assert sorted(found) == sorted(f"x-{n}" for n in range(EVENTS + 1_000))
    assert not note.exists()
