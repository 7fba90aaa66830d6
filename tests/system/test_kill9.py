"""P1 and P2: whatever was answered 200 is found exactly once after kill -9 at any moment."""

from pathlib import Path

import pytest

from tests.support.process import Parsec
from tests.support.results import keep
from tests.support.rounds import rounds_lose_nothing
from tests.support.sabotaged import under


def kill_and_count(data_dir: Path, rounds: int, seed: int, fault: str = "") -> dict[str, int]:
    """kill -9 at the end of each round."""
    parsec = Parsec(data_dir, under(fault, SEGMENT_BYTES=1 << 20), PARSEC_DISK_RESERVE="0")
    return rounds_lose_nothing(parsec, rounds, seed, 4000, Parsec.kill)


def test_two_kills_lose_nothing(tmp_path: Path) -> None:
    kill_and_count(tmp_path / "data", rounds=2, seed=1)


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_ten_kills_lose_nothing(tmp_path: Path) -> None:
    kill_and_count(tmp_path / "data", rounds=10, seed=2)


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_the_same_loop_sees_what_recovery_by_position_prevents(tmp_path: Path) -> None:
    kill_and_count(tmp_path / "with", rounds=5, seed=4, fault="slow")
    with pytest.raises(AssertionError, match="stored more than once"):
        kill_and_count(tmp_path / "without", rounds=5, seed=4, fault="forgetful")


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    counts = kill_and_count(tmp_path / "data", rounds=100, seed=3)
    keep("hundred-kills", "tests/system/test_kill9.py", counts)
