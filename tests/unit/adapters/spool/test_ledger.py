"""What a spool loses is counted once, with its offsets, whatever happens. Numbers are the invariants of ledger.py."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from parsec.adapters.kafka.cluster import KafkaCluster
from parsec.adapters.log.embedded import LogOptions
from parsec.adapters.spool import ledger
from parsec.adapters.spool.drain import ADOPT_EVERY_S, Drain
from parsec.adapters.spool.ledger import DIRECTORY, READ_EVERY_S, SpoolLedgers
from parsec.adapters.spool.spool import DiskSpool
from parsec.api.status import SpoolLedger
from parsec.query.completeness import missing_of_spools
from parsec.settings import Settings
from parsec.telemetry import Telemetry
from parsec.wiring.offline import offline_audit
from tests.support.fake_kafka import FakeCluster
from tests.support.logs import group

ROUNDS, EACH = 8, 50
OPTIONS = LogOptions(segment_bytes=1 << 15, max_bytes=1 << 24, retention_s=0.0, disk_reserve=0)
FOUND_AT = "2027-01-15T08:00:30Z"


class Machine:
    """A data directory with spools, and the processes on it, one after another."""

    def __init__(self, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data_dir = data_dir
        self.cluster = FakeCluster(monkeypatch)
        self.telemetry = Telemetry()
        self.acknowledged: list[bytes] = []
        self.spool = self.start()

    def start(self) -> DiskSpool:
        self.telemetry = Telemetry()
        self.spool = DiskSpool(self.data_dir / "spool", OPTIONS, self.cluster.clock, self.telemetry)
        return self.spool

    def restart(self, change: Callable[[], object] = lambda: None) -> None:
        """`change`: what happens to the files meanwhile."""
        self.spool.close()
        change()
        self.start()

    def fill(self, rounds: int = ROUNDS) -> None:
        for _ in range(rounds):
            made = group(len(self.acknowledged), EACH)
            self.spool.append(made)
            self.acknowledged += made.lines.splitlines()

    def drain(self) -> None:
        """Until nothing waits, and the spools of others were looked for."""
        kafka: KafkaCluster = self.cluster.opened(deadline_s=2.0)
        drain = Drain(self.spool, kafka.writer(), kafka.breaker, self.telemetry, self.cluster.clock)
        drain.step()
        self.cluster.clock.advance(ADOPT_EVERY_S)
        while drain.step() or self.spool.waiting:
            if not self.spool.waiting:
                break

    @property
    def losses(self) -> list[SpoolLedger]:
        return list(SpoolLedgers(self.data_dir / DIRECTORY, self.cluster.clock).losses())

    @property
    def lost(self) -> int:
        return sum(each.lost for each in self.losses)

    def segments(self) -> list[Path]:
        return sorted((self.data_dir / "spool" / "0" / "segments").glob("*.log"))

    def is_exact(self) -> None:
        """All that was acknowledged is in Kafka or counted."""
        assert len(set(self.cluster.values())) + self.lost == len(self.acknowledged)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    opened = Machine(tmp_path / "data", monkeypatch)
    yield opened
    opened.spool.close()


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_fifty_of_four_hundred_events_are_lost_and_counted_everywhere(machine: Machine) -> None:
    machine.fill()
    machine.restart(lambda: flip(machine.segments()[1], 5000))
    machine.drain()
    machine.is_exact()
    (one,) = machine.losses
    assert (one.spool, one.lost) == ("spool/0", EACH)
    (span,) = one.where
    assert machine.acknowledged[span.first] not in machine.cluster.values()
    assert (span.end - span.first, span.first % EACH, span.found_at) == (EACH, 0, FOUND_AT)
    assert machine.telemetry.value("parsec_spool_events_lost_total") == EACH
    machine.spool.close()
    audit = offline_audit(Settings(data_dir=str(machine.data_dir), kafka_brokers="nowhere:1"))
    assert (audit.spools, audit.partitions) == ([one], [])
    assert missing_of_spools([one], FOUND_AT) == [
        f"50 events accepted before {FOUND_AT} were lost in this machine's spool/0 before Kafka had them; their "
        "tenants are unknown."
    ]
    assert missing_of_spools([one], "2027-01-15T08:00:31Z") == []


def test_a_loss_stays_counted_once_over_restarts(machine: Machine) -> None:
    machine.fill()
    machine.restart(lambda: flip(machine.segments()[1], 5000))
    machine.drain()
    before = machine.losses
    for _ in range(2):
        machine.fill(1)
        machine.restart()
        machine.drain()
        assert machine.losses == before
    machine.is_exact()


def test_a_crash_between_the_count_and_the_commit_counts_once(machine: Machine) -> None:
    """1."""
    machine.fill()
    machine.restart(lambda: flip(machine.segments()[0], 5000))
    reader = machine.spool.oldest()
    assert reader is not None
    records = reader.poll(1000, 1 << 20)
    while records is not None and not records.lost:
        reader.commit(records, 0)
        records = reader.poll(1000, 1 << 20)
    assert records is not None
    reader._account.lost(records.first, records.first + records.lost)
    assert machine.lost == EACH
    machine.restart()
    machine.drain()
    assert machine.lost == EACH


def test_offline_the_damage_is_known_before_the_drain_meets_it(machine: Machine) -> None:
    machine.fill()
    machine.spool.close()
    flip(machine.segments()[1], 5000)
    (one,) = offline_audit(Settings(data_dir=str(machine.data_dir), kafka_brokers="nowhere:1")).spools
    assert one.lost == EACH
    machine.start()
    machine.drain()
    assert machine.lost == EACH


def remove_segment(machine: Machine) -> None:
    machine.segments()[1].unlink()


def remove_segments(machine: Machine) -> None:
    shutil.rmtree(machine.data_dir / "spool" / "0" / "segments")


def remove_spool(machine: Machine) -> None:
    shutil.rmtree(machine.data_dir / "spool" / "0")


def remove_all_spools(machine: Machine) -> None:
    shutil.rmtree(machine.data_dir / "spool")


def empty_spool(machine: Machine) -> None:
    remove_spool(machine)
    (machine.data_dir / "spool" / "0").mkdir()


def remove_state_and_segments(machine: Machine) -> None:
    remove_segments(machine)
    for path in (machine.data_dir / "spool" / "0").glob("state.db*"):
        path.unlink()


@pytest.mark.parametrize(
    "damage",
    [remove_segment, remove_segments, remove_spool, remove_all_spools, empty_spool, remove_state_and_segments],
)
def test_what_is_gone_is_counted(machine: Machine, damage: Callable[[Machine], None]) -> None:
    """2."""
    machine.fill()
    machine.drain()
    assert (machine.spool.waiting, machine.lost) == (0, 0)
    machine.fill()
    machine.spool.note_position()  # as the drain does ten times a second
    machine.restart(lambda: damage(machine))
    machine.drain()
    machine.is_exact()
    assert machine.lost >= EACH
    before = machine.losses
    machine.fill(1)
    machine.restart()
    machine.drain()
    assert machine.losses == before
    machine.is_exact()


def test_the_first_event_of_an_outage_is_noted_at_once(machine: Machine) -> None:
    """2: killed right after it, the process had no time for more."""
    machine.fill(1)
    machine.restart(lambda: remove_spool(machine))
    machine.spool.adopt()
    assert machine.lost == EACH


def test_a_spool_of_a_stopped_process_that_is_missing_is_counted(machine: Machine, tmp_path: Path) -> None:
    other = DiskSpool(machine.data_dir / "spool", OPTIONS, machine.cluster.clock, Telemetry())
    made = group(9000, 7)
    other.append(made)
    other.close()
    machine.acknowledged += made.lines.splitlines()
    shutil.rmtree(machine.data_dir / "spool" / "1")
    machine.drain()
    assert [(each.spool, each.lost) for each in machine.losses] == [("spool/1", 7)]
    machine.drain()
    machine.is_exact()
    assert not (machine.data_dir / "spool" / "1").exists()


def test_a_spool_under_another_number_is_not_missing(machine: Machine) -> None:
    machine.fill()
    spools = machine.data_dir / "spool"
    machine.restart(lambda: (spools / "0").rename(spools / "7"))
    machine.drain()
    assert machine.losses == []
    machine.is_exact()


def test_a_process_that_does_not_send_says_what_waits(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[dict[str, object]] = []
    monkeypatch.setattr(ledger._log, "warning", lambda _, **fields: lines.append(fields))
    machine.fill(2)
    machine.spool.close()
    ledgers = SpoolLedgers(machine.data_dir / DIRECTORY, machine.cluster.clock)
    ledgers.warn_of_unsent()
    assert lines == [{"spool": "spool/0", "events": 2 * EACH}]
    machine.start()
    machine.drain()
    ledgers.warn_of_unsent()
    assert len(lines) == 1


def test_a_torn_tail_is_no_loss(machine: Machine) -> None:
    machine.fill()
    newest = machine.segments()[-1]
    machine.restart(lambda: newest.write_bytes(newest.read_bytes() + b"half a frame"))
    machine.drain()
    assert machine.losses == []
    machine.is_exact()


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b'{"ledgers":7}', None])
def test_a_damaged_ledger_is_made_anew_from_the_spools_own_count(machine: Machine, content: bytes | None) -> None:
    """3."""
    machine.fill()
    machine.restart(lambda: flip(machine.segments()[1], 5000))
    machine.drain()

    def damage() -> None:
        for path in (machine.data_dir / DIRECTORY).iterdir():
            path.write_bytes(content) if content is not None else path.unlink()

    machine.restart(damage)
    assert machine.lost == EACH
    machine.cluster.clock.advance(READ_EVERY_S)
    machine.fill(1)
    machine.drain()
    machine.is_exact()
