"""P6: whatever happens to the files of a stopped Parsec, it starts, counts what is lost and serves the rest."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from tests.support import damage
from tests.support.load import TENANT, Load, event
from tests.support.process import Parsec
from tests.support.sabotaged import under

SMALL_SEGMENTS = under(SEGMENT_BYTES=1 << 16)
SETTINGS = {"PARSEC_DISK_RESERVE": "0", "PARSEC_PROCESS_LINGER_MS": "50"}
NEW_EVENTS = 50


class Before(NamedTuple):
    """A killed Parsec: a copy of its directory, what it had acknowledged, its last ledger."""

    data_dir: Path
    copy: Path
    acknowledged: frozenset[str]
    ledger: dict[str, int]
    settled: int
    """Segments, oldest first, of which everything was stored."""

    def restore(self) -> None:
        """The directory as it was at the kill, under its own name: the store's links are absolute."""
        shutil.rmtree(self.data_dir, ignore_errors=True)
        shutil.copytree(self.copy, self.data_dir, symlinks=True)


class Case(NamedTuple):
    """What is done to which of the files. `exact`: the log can know how much is missing, so it counts no more."""

    seed: int
    hurt: Callable[[Path, Random], None]
    files: str
    exact: bool = True
    aside: bool = False

    def choose(self, before: Before, chance: Random) -> list[Path]:
        found = damage.segments(before.data_dir)
        match self.files:
            case "stored segment":
                return [chance.choice(found[: before.settled])]
            case "waiting segment":
                return [chance.choice(found[before.settled + 1 : -1])]
            case "newest segment":
                return [found[-1]]
            case "mark and newest segment":
                return [before.data_dir / "mark", found[-1]]
            case "both marks and newest segment":
                return [*mark_files(before.data_dir), found[-1]]
            case "both marks":
                return mark_files(before.data_dir)
            case "state and waiting segment":
                return [*state_files(before.data_dir), chance.choice(found[before.settled + 1 : -1])]
            case "journal of the state":
                return [before.data_dir / "state.db-wal"]
            case "state":
                return state_files(before.data_dir)
            case _:
                return [before.data_dir / "mark"]


SHORT = (
    Case(1, damage.flip_bit, "waiting segment", aside=True),
    Case(2, damage.truncate, "newest segment"),
    Case(3, damage.overwrite, "mark"),
)
LONG = (
    Case(4, damage.zero_page, "waiting segment", aside=True),
    Case(5, damage.truncate, "waiting segment"),
    Case(6, damage.delete, "waiting segment"),
    Case(7, damage.delete, "newest segment"),
    Case(8, damage.flip_bit, "newest segment", aside=True),
    Case(9, damage.zero_page, "stored segment"),
    Case(10, damage.delete, "stored segment"),
    Case(11, damage.truncate, "mark and newest segment"),
    Case(12, damage.overwrite, "state", exact=False, aside=True),
    Case(13, damage.delete, "state", exact=False),
    Case(14, damage.overwrite, "state and waiting segment", exact=False, aside=True),
    Case(15, damage.delete, "journal of the state", exact=False),
    Case(16, damage.truncate, "journal of the state", exact=False),
    Case(17, damage.delete, "mark"),
    Case(18, damage.truncate, "both marks and newest segment", exact=False),
    Case(19, damage.delete, "both marks", exact=False),
)


def mark_files(data_dir: Path) -> list[Path]:
    return sorted(data_dir.glob("mark*"))


def state_files(data_dir: Path) -> list[Path]:
    return sorted(data_dir.glob("state.db*"))


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    """Some segments of stored events, then some of events that were acknowledged and not yet stored."""
    data_dir = tmp_path_factory.mktemp("damage") / "data"
    with Parsec(data_dir, SMALL_SEGMENTS, **SETTINGS) as parsec:
        acknowledged = loaded(parsec, "stored", 1000)
        parsec.wait_processed()
        settled = len(damage.segments(data_dir)) - 1
        parsec.kill()
    with Parsec(data_dir, SMALL_SEGMENTS, **SETTINGS | {"PARSEC_PROCESS_LINGER_MS": "60000"}) as parsec:
        # The first batch of a start goes at once; what comes after it waits for a minute that this process has not.
        assert parsec.ingest(event("first"))[0] == 200
        parsec.wait_processed()
        acknowledged |= {"first"} | loaded(parsec, "waiting", 1500)
        ledger = parsec.stats()["ledger"]
        parsec.kill()
    assert settled >= 2
    assert len(damage.segments(data_dir)) >= settled + 4
    assert ledger["end"] - ledger["committed"] >= 1500
    copy = data_dir.with_name("copy")
    shutil.copytree(data_dir, copy, symlinks=True)
    return Before(data_dir, copy, frozenset(acknowledged), ledger, settled)


def loaded(parsec: Parsec, run: str, events: int) -> set[str]:
    load = Load(parsec.port, run, clients=2).start()
    load.wait_for(events, lambda: parsec.process.poll() is None)
    load.stop()
    assert not load.wrong_answers
    assert not load.unanswered
    return load.acknowledged


def after(before: Before, case: Case) -> tuple[dict[str, int], dict[str, int], Counter[str], Parsec]:
    """Damages, starts, sends more; the ledger at start and at the end, how often each id was found."""
    before.restore()
    chance = Random(case.seed)
    for path in case.choose(before, chance):
        case.hurt(path, chance)
    with Parsec(before.data_dir, SMALL_SEGMENTS, **SETTINGS) as parsec:
        at_start = parsec.stats()["ledger"]
        status, answer = parsec.ingest([event(f"new-{n}") for n in range(NEW_EVENTS)])
        assert (status, answer["ack"], answer["accepted"]) == (200, "durable", NEW_EVENTS)
        parsec.wait_processed()
        found = Counter[str](one["id"] for one in parsec.search(TENANT))
        ledger: dict[str, int] = parsec.stats()["ledger"]
        assert parsec.get("/admin/audit")[1]["difference"] == 0
        assert parsec.get("/readyz")[0] == 200
        assert parsec.terminate() == 0
    assert "Traceback" not in parsec.logs()
    return at_start, ledger, found, parsec


def survives(before: Before, case: Case) -> None:
    at_start, ledger, found, parsec = after(before, case)
    missing = before.acknowledged - found.keys()
    new = {f"new-{n}" for n in range(NEW_EVENTS)}
    assert found.keys() - before.acknowledged == new
    twice = {event_id for event_id, times in found.items() if times > 1}
    assert not twice, f"{len(twice)} events are stored more than once"
    assert at_start["end"] >= before.ledger["end"], "offsets went back"
    assert ledger["end"] == ledger["committed"] == at_start["end"] + NEW_EVENTS
    assert ledger["difference"] == 0
    assert ledger["in_flight"] == 0
    if case.exact:
        assert len(missing) == ledger["lost"]
    else:
        assert len(missing) <= ledger["lost"], f"{len(missing)} events are missing, {ledger['lost']} counted"
    if case.files in ("waiting segment", "newest segment", "mark and newest segment"):
        assert 0 < ledger["lost"] < before.ledger["end"] - before.ledger["committed"]
        assert "Events of the log are lost." in parsec.logs()
    elif "segment" not in case.files:
        assert not missing
    elif "marks" in case.files:
        assert missing
    if case.aside:
        assert damage.set_aside(before.data_dir), "nothing was set aside"


@pytest.mark.parametrize("case", SHORT, ids=lambda case: f"{case.hurt.__name__} {case.files}")
def test_a_damaged_directory_starts_and_serves_the_rest(before: Before, case: Case) -> None:
    survives(before, case)


@pytest.mark.integration
@pytest.mark.parametrize("case", LONG, ids=lambda case: f"{case.hurt.__name__} {case.files}")
def test_every_kind_of_damage_is_survived(before: Before, case: Case) -> None:
    survives(before, case)
