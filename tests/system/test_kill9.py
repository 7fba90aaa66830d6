"""P1 and P2: whatever was answered 200 is found exactly once after kill -9 at any moment."""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.support.load import TENANT, Load
from tests.support.process import Parsec


def kill_and_count(data_dir: Path, rounds: int, seed: int) -> None:
    """`rounds` times: start, load, kill -9 at a random moment. Then every acknowledged id must be there once."""
    chance = random.Random(seed)
    acknowledged: set[str] = set()
    unanswered: set[str] = set()
    parsec = Parsec(data_dir, PARSEC_SEGMENT_BYTES="1MiB", PARSEC_DISK_RESERVE="0")
    with parsec:
        for turn in range(rounds):
            if turn:
                parsec.start()
            load = Load(parsec.port, f"r{turn}").start()
            load.wait_for(chance.randrange(1, 4000), lambda: parsec.process.poll() is None)
            parsec.kill()
            load.stop()
            assert not load.wrong_answers
            acknowledged |= load.acknowledged
            unanswered |= set(load.unanswered)
        parsec.start()
        parsec.wait_processed()
        found = Counter(event["id"] for event in parsec.search(TENANT))
        ledger = parsec.stats()["ledger"]
    twice = {event_id: times for event_id, times in found.items() if times > 1}
    missing = acknowledged - found.keys()
    unknown = found.keys() - acknowledged - unanswered
    assert not missing, f"{len(missing)} acknowledged events are lost"
    assert not twice, f"{len(twice)} events are stored more than once"
    assert not unknown, f"{len(unknown)} events came from nowhere"
    assert ledger["difference"] == 0
    assert ledger["lost"] == 0
    assert ledger["stored"] == sum(found.values())


def test_two_kills_lose_nothing(tmp_path: Path) -> None:
    kill_and_count(tmp_path / "data", rounds=2, seed=1)


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_ten_kills_lose_nothing(tmp_path: Path) -> None:
    kill_and_count(tmp_path / "data", rounds=10, seed=2)
