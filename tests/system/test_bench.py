"""`parsec bench` against the real process: its flags hold, it shows how it goes, and its counts are the server's."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.load import event
from tests.support.process import Parsec, eventually
from tests.support.terminal import on_terminal


def test_a_rate_and_a_duration_hold_and_the_counts_agree(parsec: Parsec) -> None:
    command = [sys.executable, "-m", "parsec", "bench", "--url", f"http://127.0.0.1:{parsec.port}"]
    plan = ["--connections", "3", "--batch", "7", "--rate", "140", "--duration", "1"]
    done = subprocess.run([*command, *plan], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["counts_agree"] is True
    assert 0 < report["requests"] <= 21
    assert report["accepted"] == 7 * report["requests"] == report["server"]["stored"]


def test_on_a_terminal_it_shows_how_it_goes(parsec: Parsec) -> None:
    url = f"http://127.0.0.1:{parsec.port}"
    plan = ("--connections", "2", "--batch", "10", "--rate", "100", "--duration", "2")
    shown = on_terminal("bench", "--url", url, *plan)
    live, _, end = shown.rpartition("requests/s in")
    assert "refused 0" in live, shown
    assert "p99" in live, shown
    assert "0 unanswered" in end, shown
    assert "durable on the server" in end, shown


def test_a_kill_meanwhile_is_noticed_and_the_counts_agree(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data") as parsec:
        command = [sys.executable, "-m", "parsec", "bench", "--url", f"http://127.0.0.1:{parsec.port}"]
        plan = ["--connections", "4", "--batch", "20", "--rate", "2000", "--duration", "4"]
        assert parsec.ingest([event("before", "acme", "line")])[1]["accepted"] == 1
        with subprocess.Popen([*command, *plan], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            eventually(lambda: parsec.stats()["producer"]["messages_sent"] > 500)
            parsec.kill()
            parsec.start()
            out, err = running.communicate(timeout=60)
        report = json.loads(out)
        assert (report["restarted"], report["counts_agree"], running.returncode) == (True, True, 0), err
