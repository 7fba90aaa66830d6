"""A stop under load: exit code 0, no answered event is lost, no answered request is cut."""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.support.load import TENANT, Load
from tests.support.process import Parsec


def stop_and_count(data_dir: Path, rounds: int, seed: int) -> None:
    """`rounds` times: start, load, SIGTERM at a random moment; exit code 0 each time; then count."""
    chance = random.Random(seed)
    acknowledged: set[str] = set()
    unanswered: set[str] = set()
    parsec = Parsec(data_dir, PARSEC_DISK_RESERVE="0")
    with parsec:
        for turn in range(rounds):
            if turn:
                parsec.start()
            load = Load(parsec.port, f"r{turn}").start()
            load.wait_for(chance.randrange(1, 3000), lambda: parsec.process.poll() is None)
            assert parsec.terminate() == 0, parsec.logs()[-4000:]
            load.stop()
            assert not load.wrong_answers
            acknowledged |= load.acknowledged
            unanswered |= set(load.unanswered)
        parsec.start()
        parsec.wait_processed()
        found = Counter(event["id"] for event in parsec.search(TENANT))
    assert not acknowledged - found.keys()
    assert not [event_id for event_id, times in found.items() if times > 1]
    assert not found.keys() - acknowledged - unanswered


def test_two_stops_lose_nothing(tmp_path: Path) -> None:
    stop_and_count(tmp_path / "data", rounds=2, seed=1)


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_ten_stops_lose_nothing(tmp_path: Path) -> None:
    stop_and_count(tmp_path / "data", rounds=10, seed=2)


def test_a_second_start_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", PARSEC_DISK_RESERVE="0"):
        second = Parsec(tmp_path / "data", PARSEC_DISK_RESERVE="0").start(wait=False)
        assert second.process.wait(20) == 3
        assert str(tmp_path / "data") in second.logs()
