"""Two hundred ways to damage a log on a real disk (I2, I5, I6).

Each time the start succeeds, what is not served is counted, what is served is right, offsets never go back, the log
takes new events, and the damaged bytes lie beside as `*.corrupt`.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from parsec.adapters.log.embedded import LogOptions
from parsec.ports.broker import Assigned, Counts
from parsec.telemetry import Telemetry
from tests.support.logs import damaged, fill, group, open_log, read, segments

OPTIONS = LogOptions(segment_bytes=16 << 10, max_bytes=4 << 20, retention_s=3600.0, disk_reserve=0)
COMMITTED = 37
PAGE = 4096
Damage = Callable[[Path, Random], str]


def flip(path: Path, random: Random) -> str:
    content = bytearray(path.read_bytes())
    at = random.randrange(len(content))
    content[at] ^= 1 << random.randrange(8)
    path.write_bytes(bytes(content))
    return f"bit in byte {at}"


def cut(path: Path, random: Random) -> str:
    size = random.randrange(path.stat().st_size)
    with path.open("r+b") as file:
        file.truncate(size)
    return f"cut to {size} bytes"


def zero_page(path: Path, random: Random) -> str:
    content = bytearray(path.read_bytes())
    at = random.randrange(0, len(content), PAGE)
    content[at : at + PAGE] = bytes(len(content[at : at + PAGE]))
    path.write_bytes(bytes(content))
    return f"zeros at {at}"


def delete(path: Path, random: Random) -> str:
    path.unlink()
    return "deleted"


class Original:
    """A log of some segments, left behind by a process that stopped or was killed, and what was acknowledged."""

    def __init__(self, directory: Path, *, clean: bool) -> None:
        self.directory = directory
        self.clean = clean
        log = open_log(directory / "live", OPTIONS)
        self.written: dict[int, bytes] = {}
        random = Random(5)
        reader = log.reader("processor")
        for n in range(120):
            if random.random() < 0.3:
                end = log.end
                groups = [group(end + 2 * g, 2, "several groups") for g in range(4)]
                log.publish(groups)
                lines = [line for each in groups for line in each.lines.splitlines()]
                self.written.update(zip(range(end, log.end), lines, strict=True))
            else:
                self.written.update(fill(log, 1, random.randrange(1, 9), "x" * random.randrange(200)))
            if n == 60:
                event = reader.poll(0, 1, 1)
                assert isinstance(event, Assigned)
                reader.commit(0, event.epoch, COMMITTED, Counts(stored=COMMITTED))
        self.end = log.end
        if clean:
            log.close()
        shutil.copytree(directory / "live", directory / "left")
        log.close()

    def copy(self, target: Path) -> Path:
        shutil.copytree(self.directory / "left", target)
        return target


@pytest.fixture(scope="module", params=["stopped", "killed"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Original:
    return Original(tmp_path_factory.mktemp("log"), clean=request.param == "stopped")


@pytest.mark.parametrize("kind", [flip, cut, zero_page, delete])
@pytest.mark.parametrize("seed", range(25))
def test_a_damaged_log_opens_counts_and_goes_on(original: Original, tmp_path: Path, kind: Damage, seed: int) -> None:
    random = Random(f"{kind.__name__} {seed}")
    directory = original.copy(tmp_path / "log")
    path = random.choice(segments(directory))
    # Every other time the newest, for that is where a start works.
    path = segments(directory)[-1] if seed % 2 else path
    what = f"{path.name}: {kind(path, random)}"
    telemetry = Telemetry()
    log = open_log(directory, OPTIONS, telemetry=telemetry)
    assert log.end == original.end, what
    reading = read(log)
    assert (reading.first, reading.end) == (COMMITTED, original.end), what
    expected = {offset: value for offset, value in original.written.items() if offset >= COMMITTED}
    assert reading.values.items() <= expected.items(), what
    assert len(reading.values) + reading.lost == len(expected), what
    if reading.lost:
        assert damaged(telemetry, "gap") > 0, what
        if kind is not delete and kind is not cut:
            assert segments(directory, ".corrupt"), what
    if kind in (flip, zero_page):
        assert reading.lost < len(expected), what
    new = fill(log, 2)
    log.close()
    log = open_log(directory, OPTIONS)
    again = read(log)
    assert again.values == reading.values | new, what
    assert again.lost == reading.lost, what
    log.close()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", ["mark", "mark.copy", "state.db", "state.db-wal"])
def test_checkpoint_and_state_may_be_damaged(original: Original, tmp_path: Path, name: str, seed: int) -> None:
    """Nothing is lost with them: the segments are what counts."""
    random = Random(f"{name} {seed}")
    directory = original.copy(tmp_path / "log")
    path = directory / name
    if not path.exists() or not path.stat().st_size:
        pytest.skip("a clean stop leaves no write-ahead log")
    what = (flip, cut, zero_page, delete)[seed % 4](path, random)
    log = open_log(directory, OPTIONS)
    assert log.end == original.end, what
    reading = read(log)
    assert reading.first in (0, COMMITTED), what
    assert reading.lost == 0, what
    assert reading.values == {offset: value for offset, value in original.written.items() if offset >= reading.first}
    fill(log, 1)
    log.close()


@pytest.mark.parametrize("seed", range(24))
def test_damage_to_the_checkpoint_and_the_newest_segment_together_is_counted(
    original: Original, tmp_path: Path, seed: int
) -> None:
    """Exactly while one copy of the checkpoint is valid or the stop was clean, conservatively else."""
    random = Random(seed)
    directory = original.copy(tmp_path / "log")
    damages = (flip, cut, zero_page, delete)
    for name in (["mark"], ["mark.copy"], ["mark", "mark.copy"])[seed % 3]:
        random.choice(damages)(directory / name, random)
    what = random.choice(damages)(segments(directory)[-1], random)
    log = open_log(directory, OPTIONS)
    reading = read(log)
    expected = {offset: value for offset, value in original.written.items() if offset >= COMMITTED}
    missing = expected.keys() - reading.values.keys()
    assert reading.values.items() <= expected.items(), what
    exact = seed % 3 < 2 or original.clean
    assert log.end == original.end if exact else log.end >= original.end, what
    assert reading.lost == len(missing) if exact else reading.lost >= len(missing), what
    new = fill(log, 1)
    log.close()
    log = open_log(directory, OPTIONS)
    assert read(log).values == reading.values | new, what
    log.close()
