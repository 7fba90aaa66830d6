"""A stop under load: exit code 0, no answered event is lost, no answered request is cut."""

from pathlib import Path

import pytest

from tests.support.process import Parsec
from tests.support.rounds import rounds_lose_nothing


def stop(parsec: Parsec) -> None:
    assert parsec.terminate() == 0, parsec.logs()[-4000:]


def stop_and_count(data_dir: Path, rounds: int, seed: int) -> None:
    """SIGTERM at the end of each round; exit code 0 each time."""
    rounds_lose_nothing(Parsec(data_dir, PARSEC_DISK_RESERVE="0"), rounds, seed, 3000, stop)


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
