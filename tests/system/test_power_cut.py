"""P1 and P2: after a power cut at any moment, all that was acknowledged is there once, and the ledger is exact.

The real process is recorded with every change that it makes to its disk. Then the power is cut at many moments of the
recording, at random and right at the steps that matter; a disk that honours fsync and promises nothing else says what
is left; a Parsec starts on that, and is asked.
"""

import http.client
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.core.clock import SystemClock
from parsec.ports.broker import Group
from parsec.telemetry import Telemetry
from tests.support import power
from tests.support.damage import set_aside
from tests.support.events import envelope
from tests.support.load import TENANT, event
from tests.support.power import Recording
from tests.support.prerequisites import require
from tests.support.process import Parsec
from tests.support.results import keep
from tests.support.sabotaged import under
from tests.system.test_upgrade import EARLIER, rewritten

SMALL_SEGMENTS = under(SEGMENT_BYTES=1 << 16)
SETTINGS = {
    "PARSEC_LOG_RETENTION": "0",  # a segment goes as soon as its events are committed
    "PARSEC_PROCESS_LINGER_MS": "100",
    "PARSEC_DISK_RESERVE": "0",
}
BATCH = 5
DEAD = 30
REMOVAL_S = 14.0
HASTEN = """
import sys
from pathlib import Path
from parsec.adapters.store.chdb.engine import ChdbEngine
client = ChdbEngine(Path(sys.argv[1])).connect({})
client.command("ALTER TABLE events MODIFY SETTING old_parts_lifetime = 10, cleanup_delay_period = 1,"
               " cleanup_delay_period_random_add = 0, max_cleanup_delay_period = 1")
client.close()
"""
"""What merged parts came from is kept for 10 s instead of 30, still longer than merged parts stay unsynced."""

EARLIER_WITH_SMALL_SEGMENTS = f"""
from tests.support.sabotaged import set_constant
set_constant("SEGMENT_BYTES={1 << 16}")
{EARLIER}"""
SCRUBBED = re.compile(r"^parsec_store_scrub_last_pass_seconds (\S+)$", re.MULTILINE)

STEPS = {
    "table made": ("(mkdir|symlink|rename.*)", r"/store/.*(/metadata/.*|\.sql|/detached|/deduplication_logs)$"),
    "segment begun": ("rename", r"\.new$"),
    "segment dropped": ("unlink", r"/segments/.*\.log$"),
    "insert landed": ("rename", r"tmp_insert_"),
    "token noted": ("openat", r"/deduplication_logs/"),
    "merge landed": ("rename", r"tmp_merge_"),
    "old part removed": ("rename", r"delete_tmp_"),
    "migration": ("renameat2", r"\.sql\.tmp$"),
    "table renamed": ("rename.*", r"/events_before_6\.sql$"),
}


class Acknowledged(NamedTuple):
    """Ids of one answer, and when it had arrived."""

    at: float
    ids: list[str]


class Clients:
    """Two clients that post small requests with short pauses, so that a recording stays small."""

    def __init__(self, port: int, run: str) -> None:
        self.sent: set[str] = set()
        self.acknowledged: list[Acknowledged] = []
        self._port = port
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._client, args=(f"{run}-{n}",), daemon=True) for n in range(2)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _client(self, name: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        serial = 0
        while not self._stop.wait(0.008):
            ids = [f"{name}-{serial + n}" for n in range(BATCH)]
            serial += BATCH
            self.sent.update(ids)
            connection.request("POST", "/ingest", json.dumps([event(i) for i in ids]))
            response = connection.getresponse()
            answer = json.loads(response.read())
            if (response.status, answer.get("ack"), answer.get("accepted")) == (200, "durable", BATCH):
                self.acknowledged.append(Acknowledged(time.time(), ids))
        connection.close()


class Life(NamedTuple):
    """A recorded life, and what its clients know of it."""

    recording: Recording
    clients: Clients
    dead: int

    def acknowledged_by(self, at: float) -> set[str]:
        return {event_id for answer in self.clients.acknowledged if answer.at <= at for event_id in answer.ids}

    def moments(self, count: int, chance: Random) -> Iterator[tuple[str, float]]:
        """Times to cut the power at: every second one at random, the others right at a step."""
        recording = self.recording
        steps = {name: times for name, (call, text) in STEPS.items() if (times := recording.times(call, text))}
        steps["commit"] = [call.ended for call in recording.calls if call.name == "fdatasync"]
        steps["answer"] = [answer.at for answer in self.clients.acknowledged if answer.at >= recording.began]
        names = sorted(steps)
        for n in range(count):
            if n % 3 == 2:
                yield "any time", chance.uniform(recording.began, recording.ended)
            else:
                name = names[(n - n // 3) % len(names)]
                yield name, chance.choice(steps[name]) + chance.choice((0.0, 1e-6, 1e-4, 1e-3, chance.uniform(0, 0.1)))


def first_life(place: Path, seconds: float) -> Life:
    """A first start on a log that holds records that can be no rows, load, a clean stop."""
    data_dir = place / "data"
    log = EmbeddedLog.open(data_dir, LogOptions(), SystemClock(), Telemetry())
    log.publish([Group([envelope(n) for n in range(DEAD)], b"no event\n" * DEAD)])
    log.close()
    return record(data_dir, place, seconds, idle_s=0.0)


def second_life(place: Path, seconds: float) -> Life:
    """A start on a used directory, load, then time enough for merged parts to lose what they came from."""
    data_dir = place / "data"
    data_dir.mkdir(parents=True)
    with Parsec(data_dir, SMALL_SEGMENTS, **SETTINGS) as parsec:
        assert parsec.terminate() == 0
    subprocess.run([sys.executable, "-c", HASTEN, str(data_dir / "store")], check=True, timeout=60)
    return record(data_dir, place, seconds, idle_s=REMOVAL_S)


def upgraded_life(place: Path, seconds: float) -> Life:
    """Load on the version before migration 6, then on this one, which rewrites what was stored."""
    data_dir = place / "data"
    data_dir.mkdir(parents=True)
    with Parsec(data_dir, (sys.executable, "-c", EARLIER_WITH_SMALL_SEGMENTS), **SETTINGS) as earlier:
        before = Clients(earlier.port, "e")
        time.sleep(seconds)
        before.stop()
        earlier.wait_processed()
        assert earlier.terminate() == 0
    life = record(data_dir, place, seconds, idle_s=1.0)
    life.clients.acknowledged[:0] = before.acknowledged
    life.clients.sent.update(before.sent)
    return life


def record(data_dir: Path, place: Path, seconds: float, idle_s: float) -> Life:
    recording = Recording(data_dir, place / "recording", SMALL_SEGMENTS, **SETTINGS)
    parsec = recording.start()
    clients = Clients(parsec.port, "a")
    time.sleep(seconds)
    clients.stop()
    parsec.wait_processed()
    dead = parsec.stats()["ledger"]["dead"]
    time.sleep(idle_s)
    recording.end()
    return Life(recording, clients, dead)


def check(data_dir: Path, life: Life, at: float) -> None:
    """A start on what a cut left finds all that was acknowledged by then, nothing twice, and counts it right; also
    after every byte of the store was read, and what is damaged detached."""
    acknowledged = life.acknowledged_by(at)
    with Parsec(data_dir, SMALL_SEGMENTS, **SETTINGS) as parsec:
        parsec.wait_processed()
        _wait_until(rewritten, parsec)
        _wait_until(_was_scrubbed, parsec)
        found = Counter(one["id"] for one in parsec.search(TENANT))
        ledger = parsec.stats()["ledger"]
        missing = acknowledged - found.keys()
        if not missing and not ledger["lost"]:
            # Old parts that were partly removed count as damaged until all is compared.
            _wait_until(_is_whole, parsec)
    twice = {event_id for event_id, times in found.items() if times > 1}
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged events are lost"
    assert not twice, f"{len(twice)} events are stored more than once"
    assert found.keys() <= life.clients.sent, "events came from nowhere"
    assert (ledger["difference"], ledger["lost"], ledger["in_flight"]) == (0, 0, 0), ledger
    assert ledger["stored"] == sum(found.values()), ledger
    assert ledger["dead"] == life.dead, ledger
    assert not set_aside(data_dir)


def _was_scrubbed(parsec: Parsec) -> bool:
    passed = SCRUBBED.search(parsec.get("/metrics")[1].decode())
    return passed is not None and float(passed[1]) > 0


def _is_whole(parsec: Parsec) -> bool:
    checks = parsec.get("/health")[1]["checks"]
    return bool(checks["store"]["status"] == checks["stored_events"]["status"] == "healthy")


def _wait_until(reached: Callable[[Parsec], bool], parsec: Parsec, timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not reached(parsec):
        assert time.monotonic() < end, parsec.get("/health")
        time.sleep(0.05)


def survives(life: Life, place: Path, cuts: int, seed: int, cut_again: int) -> None:
    """So many cuts; after the first `cut_again` of them the start on what is left is itself cut at a random moment."""
    for n, (name, at) in enumerate(life.moments(cuts, Random(seed))):
        chance = Random(f"{seed} {n}")
        left = place / f"cut-{seed}-{n}"
        print(f"seed {seed}, cut {n}: {name}, {at - life.recording.began:.3f} s after the start")
        life.recording.cut(at, left, chance)
        if n < cut_again:
            again = Recording(left, place / f"again-{seed}-{n}", SMALL_SEGMENTS, **SETTINGS)
            again.start().wait_processed()
            again.end()
            left = place / f"cut-{seed}-{n}-again"
            again.cut(chance.uniform(again.began, again.ended), left, chance)
        check(left, life, at)
        shutil.rmtree(left)


@pytest.fixture(autouse=True)
def _can_record() -> None:
    require(power.why_not())


def test_power_cuts_lose_nothing(tmp_path: Path) -> None:
    survives(first_life(tmp_path, seconds=2.0), tmp_path, cuts=3, seed=1, cut_again=0)


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_power_cuts_of_a_first_and_a_later_life_lose_nothing(tmp_path: Path) -> None:
    survives(first_life(tmp_path / "first", seconds=3.0), tmp_path, cuts=5, seed=2, cut_again=1)
    survives(second_life(tmp_path / "second", seconds=5.0), tmp_path, cuts=6, seed=3, cut_again=1)


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_power_cuts_of_an_upgrade_lose_nothing(tmp_path: Path) -> None:
    """The former table has its new name on the disk before the new table takes its old one."""
    life = upgraded_life(tmp_path, seconds=1.5)
    renamed = life.recording.times("rename.*", r"/events_before_6\.sql$")[1]
    made = min(at for at in life.recording.times("rename.*", r"/events\.sql\.tmp$") if at > renamed)
    assert any(call.name == "syncfs" and renamed <= call.began <= call.ended <= made for call in life.recording.calls)
    survives(life, tmp_path, cuts=4, seed=6, cut_again=1)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_two_hundred_power_cuts_lose_nothing(tmp_path: Path) -> None:
    started = time.monotonic()
    survives(first_life(tmp_path / "first", seconds=5.0), tmp_path, cuts=100, seed=4, cut_again=15)
    survives(second_life(tmp_path / "second", seconds=10.0), tmp_path, cuts=100, seed=5, cut_again=15)
    survives(upgraded_life(tmp_path / "upgraded", seconds=2.0), tmp_path, cuts=30, seed=6, cut_again=10)
    figures = {"cuts": 230, "cut_again": 40, "seconds": round(time.monotonic() - started), "failures": 0}
    keep("power_cuts", "tests/system/test_power_cut.py", figures)


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_each_sync_is_needed(tmp_path: Path) -> None:
    """Without one kind of them the same check finds losses, so it would see it missing."""
    life = first_life(tmp_path, seconds=3.0)
    acknowledged = life.clients.acknowledged[-1].at
    for kind, (files, at) in {
        "log": (r"/segments/.*\.(new|log)$", acknowledged),
        "parts": (r"tmp_insert_", life.recording.ended),
        "names of parts": (r"/store/store/\w{3}/[-\w]{36}/?$", life.recording.ended),
    }.items():
        left = tmp_path / kind
        life.recording.cut_without(files, at, left)
        with pytest.raises(AssertionError, match=r"acknowledged events are lost|'lost': [1-9]"):
            check(left, life, at)
