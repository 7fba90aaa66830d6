"""Paging through many events while more arrive among them: each that was there is shown once."""

import json
import threading
from pathlib import Path

import pytest

from tests.support.load import event
from tests.support.process import Parsec

SECONDS = 60
START = 1_767_225_600  # 2026-01-01
REQUEST = 5_000
ARRIVING, PAUSE_S = 500, 0.1


def batch(run: str, first: int, size: int = REQUEST) -> list[dict[str, object]]:
    """Events that share a few timestamps with those of every other run."""
    return [
        event(f"{run}-{n}", "paged") | {"timestamp": START + n % SECONDS + (n // SECONDS % 4) / 4}
        for n in range(first, first + size)
    ]


class Arriving:
    """Events that arrive in between until told to stop."""

    def __init__(self, parsec: Parsec, run: str) -> None:
        self._parsec = parsec
        self._run_name = run
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0

    def __enter__(self) -> "Arriving":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            if self._parsec.ingest(batch(self._run_name, self.sent, ARRIVING))[0] == 200:
                self.sent += ARRIVING


@pytest.mark.parametrize(
    "size",
    [
        pytest.param(100_000, marks=[pytest.mark.integration, pytest.mark.timeout(300)]),
        pytest.param(1_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(1200)]),
    ],
)
def test_each_event_is_shown_once_while_others_arrive(tmp_path: Path, size: int) -> None:
    with Parsec(tmp_path / "data") as parsec:
        for first in range(0, size, REQUEST):
            while parsec.ingest(batch("there", first))[0] != 200:
                pass
        parsec.wait_processed(300)
        there = {f"there-{n}" for n in range(size)}
        between: dict[str, str | int] = {"from": START, "to": START + SECONDS + 1, "fields": "id", "limit": 2_000}
        for order in ("newest", "oldest"):
            with Arriving(parsec, order) as arriving:
                found = [each["id"] for each in parsec.search("paged", **between, order=order)]
            assert arriving.sent > 0
            assert len(found) == len(set(found))
            assert there <= set(found), f"{len(there - set(found))} were skipped"
        with Arriving(parsec, "lines"):
            address = f"/query/events?tenant=paged&from={START}&fields=id&format=ndjson"
            _, _, body = parsec.request("GET", address, timeout_s=300)
        lines = [json.loads(line)["id"] for line in body.splitlines()]
        assert len(lines) == len(set(lines))
        assert there <= set(lines)
