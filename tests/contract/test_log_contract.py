"""What parsec.ports.broker promises, on every adapter: the embedded log, Kafka, and the log in memory that other tests
use. Whoever reads Kafka waits for it; no other adapter lets anybody wait.
"""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from parsec.adapters.kafka.cluster import KafkaCluster
from parsec.adapters.kafka.config import KafkaOptions
from parsec.adapters.kafka.reader import KafkaReader
from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.core.clock import SystemClock, SystemRandom
from parsec.core.envelope import encode_lines
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Assigned, Counts, Group, LogReader, LogWriter, Range, Revoked, Slice
from parsec.telemetry import Telemetry
from tests.support.events import envelope
from tests.support.kafka_server import KafkaServer, kafka_server
from tests.support.memory_log import MemoryLog

MANY, LARGE = 1_000_000, 1 << 30


class Subject(Protocol):
    """An adapter under test, with one partition and one reader name."""

    def publish(self, groups: Sequence[Group]) -> None: ...

    def reader(self) -> LogReader: ...

    def restart(self) -> None:
        """Ends this process's use of the log and begins anew; readers of before are dead."""

    def close(self) -> None: ...


class Embedded:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.log = self._open()

    def _open(self) -> EmbeddedLog:
        options = LogOptions(segment_bytes=1 << 16, max_bytes=1 << 24, disk_reserve=0)
        return EmbeddedLog.open(self._directory, options, SystemClock(), Telemetry())

    def publish(self, groups: Sequence[Group]) -> None:
        self.log.publish(groups)

    def reader(self) -> LogReader:
        return self.log.reader("processor")

    def restart(self) -> None:
        self.log.close()
        self.log = self._open()

    def close(self) -> None:
        self.log.close()


class Memory:
    def __init__(self) -> None:
        self._log = MemoryLog()

    def publish(self, groups: Sequence[Group]) -> None:
        for group in groups:
            self._log.append(*group.lines.splitlines())

    def reader(self) -> LogReader:
        return self._log.reader(0)

    def restart(self) -> None:
        """It outlives its readers."""

    def close(self) -> None:
        """Nothing to release."""


class OnKafka:
    """A topic and a group of their own; a reader that is not closed stays a member until the process ends."""

    def __init__(self, server: KafkaServer) -> None:
        options = KafkaOptions(brokers=server.address, topic=server.make_topic(), deadline_s=30.0)
        self._kafka = KafkaCluster(options, SystemClock(), SystemRandom())
        self.writer = self._kafka.writer()
        self._readers: list[LogReader] = []

    def publish(self, groups: Sequence[Group]) -> None:
        self.writer.publish(groups)

    def reader(self) -> LogReader:
        self._readers.append(self._kafka.reader())
        return self._readers[-1]

    def restart(self) -> None:
        while self._readers:
            self._readers.pop().close()

    def close(self) -> None:
        self.restart()
        self.writer.close()


integration = pytest.mark.integration
KAFKA = pytest.param("kafka", marks=integration)


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    with kafka_server(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture(params=["embedded", "memory", KAFKA])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    subject: Subject
    if request.param == "kafka":
        subject = OnKafka(request.getfixturevalue("brokers"))
    else:
        subject = Embedded(tmp_path) if request.param == "embedded" else Memory()
    yield subject
    subject.close()


@pytest.fixture(params=["embedded", KAFKA])
def any_writer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LogWriter]:
    subject = Embedded(tmp_path) if request.param == "embedded" else OnKafka(request.getfixturevalue("brokers"))
    yield subject.log if isinstance(subject, Embedded) else subject.writer
    subject.close()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[EmbeddedLog]:
    subject = Embedded(tmp_path)
    yield subject.log
    subject.close()


def group(first: int, count: int, message: str = "hello") -> Group:
    events = [envelope(n, message=message) for n in range(first, first + count)]
    return Group(events, encode_lines(events))


def lines(*groups: Group) -> list[bytes]:
    return [line for each in groups for line in each.lines.splitlines()]


def assigned(reader: LogReader) -> Assigned:
    wait_s = 60.0 if isinstance(reader, KafkaReader) else 0.0
    event = reader.poll(wait_s, MANY, LARGE)
    assert isinstance(event, Assigned)
    return event


def drain(reader: LogReader, max_events: int = MANY, max_bytes: int = LARGE) -> list[Slice]:
    """Slices until nothing comes; an assignment on the way is passed over."""
    slices = []
    wait_s = 3.0 if isinstance(reader, KafkaReader) else 0.0
    while event := reader.poll(wait_s, max_events, max_bytes):
        if isinstance(event, Slice):
            slices.append(event)
    return slices


def values(slices: list[Slice]) -> list[bytes]:
    return [value for piece in slices for value in piece.values]


def test_the_first_thing_is_the_assignment_from_the_start(log: Subject) -> None:
    event = assigned(log.reader())
    progress = event.progress
    assert (progress.partition, progress.start, progress.committed) == (0, 0, 0)
    assert progress.counts == Counts()
    assert progress.reserved is None


def test_an_empty_log_gives_nothing(log: Subject) -> None:
    reader = log.reader()
    assigned(reader)
    assert reader.poll(0, MANY, LARGE) is None
    assert reader.ends() == {0: 0}


def test_what_was_published_comes_back_in_order(log: Subject) -> None:
    groups = [group(0, 3), group(3, 1), group(4, 7)]
    log.publish(groups[:2])
    log.publish(groups[2:])
    reader = log.reader()
    slices = drain(reader)
    assert values(slices) == lines(*groups)
    assert [offset for piece in slices for offset in piece.offsets] == list(range(11))
    assert reader.ends() == {0: 11}


@pytest.mark.parametrize("max_events", [1, 2, 5, 100])
def test_slices_follow_each_other_and_account_for_every_offset(log: Subject, max_events: int) -> None:
    groups = [group(0, 4), group(4, 1), group(5, 9)]
    log.publish(groups)
    slices = drain(log.reader(), max_events)
    assert values(slices) == lines(*groups)
    at = 0
    for piece in slices:
        assert piece.first == at
        assert len(piece.values) <= max_events
        assert piece.next_offset - piece.first == len(piece.values) + piece.lost
        at = piece.next_offset
    assert at == 14


def test_committed_records_are_read_again_and_polling_goes_on_where_it_was(log: Subject) -> None:
    groups = [group(0, 4), group(4, 1), group(5, 9)]
    log.publish(groups[:2])
    reader = log.reader()
    event = assigned(reader)
    taken = drain(reader)
    log_id = event.progress.log_id
    reader.reserve(Range(log_id, 0, 0, 4), event.epoch, 1)
    assert reader.commit(0, event.epoch, 5, Counts(stored=5))
    log.publish(groups[2:])
    again = []
    for first, last, most in ((0, 4, MANY), (0, 4, 2), (2, 4, MANY), (1, 2, MANY), (0, 0, MANY)):
        piece = reader.read_again(Range(log_id, 0, first, last), most, LARGE)
        assert piece is not None
        end = min(last + 1, first + most)
        assert (list(piece.offsets), piece.next_offset, piece.lost) == (list(range(first, end)), end, 0)
        assert piece.values == values(taken)[first:end]
        again.append(piece)
    assert reader.read_again(Range("another", 0, 0, 4), MANY, LARGE) is None
    assert reader.read_again(Range(log_id, 7, 0, 4), MANY, LARGE) is None
    assert values(drain(reader)) == lines(groups[2])


def test_a_slice_stops_at_about_max_bytes(log: Subject) -> None:
    log.publish([group(n, 1, message="x" * 1000) for n in range(20)])
    slices = drain(log.reader(), max_bytes=3000)
    assert len(values(slices)) == 20
    assert max(len(piece.values) for piece in slices) <= 3


def test_the_slice_names_its_log_partition_and_epoch(log: Subject) -> None:
    log.publish([group(0, 1)])
    reader = log.reader()
    event = assigned(reader)
    (piece,) = drain(reader)
    assert (piece.log_id, piece.partition, piece.epoch) == (event.progress.log_id, 0, event.epoch)


def test_a_reader_goes_on_where_the_last_one_committed(log: Subject) -> None:
    groups = [group(0, 10), group(10, 10)]
    log.publish(groups)
    reader = log.reader()
    event = assigned(reader)
    drain(reader)
    counts = Counts(stored=9, duplicate=1, dead=2, lost=1)
    assert reader.commit(0, event.epoch, 13, counts)
    reader.close()
    log.restart()
    again = log.reader()
    progress = assigned(again).progress
    assert (progress.log_id, progress.committed, progress.counts) == (event.progress.log_id, 13, counts)
    assert progress.start == 0
    slices = drain(again)
    assert slices[0].first == 13
    assert values(slices) == lines(*groups)[13:]


def test_a_reservation_survives_with_its_attempt_until_the_commit(log: Subject) -> None:
    log.publish([group(0, 10)])
    reader = log.reader()
    event = assigned(reader)
    taken = Range(event.progress.log_id, 0, 0, 6)
    reader.reserve(taken, event.epoch, 1)
    reader.reserve(taken, event.epoch, 2)
    log.restart()
    second = log.reader()
    event = assigned(second)
    assert (event.progress.reserved, event.progress.attempt, event.progress.committed) == (taken, 2, 0)
    second.commit(0, event.epoch, 7, Counts(stored=7))
    log.restart()
    assert assigned(log.reader()).progress.reserved is None


def test_a_second_reader_ends_the_epoch_of_the_first(log: Subject) -> None:
    if isinstance(log, OnKafka):
        pytest.skip("a group leaves its only partition with the first reader; tests/system/test_kafka_adapter.py")
    log.publish([group(0, 10)])
    first = log.reader()
    old = assigned(first)
    second = log.reader()
    new = assigned(second)
    assert new.epoch != old.epoch
    assert first.poll(0, MANY, LARGE) == Revoked(0)
    assert first.poll(0, MANY, LARGE) is None
    assert not first.commit(0, old.epoch, 10, Counts(stored=10))
    with pytest.raises(Retryable):
        first.reserve(Range(old.progress.log_id, 0, 0, 9), old.epoch, 1)
    assert first.ends() == {}
    assert len(values(drain(second))) == 10
    log.restart()
    progress = assigned(log.reader()).progress
    assert (progress.committed, progress.reserved) == (0, None)


def test_a_paused_partition_gives_no_slice_until_it_resumes(log: Subject) -> None:
    log.publish([group(0, 5)])
    reader = log.reader()
    event = assigned(reader)
    for _ in range(2):
        reader.pause(0)
    reader.pause(7)
    assert reader.poll(0, MANY, LARGE) is None
    reader.commit(0, event.epoch, 0, Counts())
    reader.resume(7)
    assert reader.poll(0, MANY, LARGE) is None
    reader.resume(0)
    assert len(values(drain(reader))) == 5


def test_closing_twice_is_safe(log: Subject) -> None:
    reader = log.reader()
    reader.close()
    reader.close()


def test_a_group_of_one_event_and_of_thousands(log: Subject) -> None:
    groups = [group(0, 1), group(1, 5000), group(5001, 1)]
    log.publish(groups)
    assert values(drain(log.reader(), 700)) == lines(*groups)


def test_more_groups_than_one_system_call_takes(log: Subject) -> None:
    groups = [group(n, 1) for n in range(2500)]
    log.publish(groups)
    assert values(drain(log.reader())) == lines(*groups)


def test_publishing_nothing_writes_nothing(writer: EmbeddedLog) -> None:
    before = writer.size_bytes
    writer.publish([])
    assert (writer.end, writer.size_bytes) == (0, before)


def test_a_healthy_log_refuses_nothing(any_writer: LogWriter) -> None:
    assert any_writer.refuses() is None


def test_after_close_publish_is_fatal_and_refuses_says_so(any_writer: LogWriter) -> None:
    any_writer.close()
    any_writer.close()
    with pytest.raises(Fatal):
        any_writer.publish([group(0, 1)])
    assert any_writer.refuses() is not None


def test_a_waiting_reader_hears_of_new_events_and_of_the_end(writer: EmbeddedLog) -> None:
    reader = writer.reader("processor")
    assigned(reader)
    heard: list[object] = []

    def listen() -> None:
        try:
            while True:
                heard.append(reader.poll(60, MANY, LARGE))
                arrived.set()
        except Fatal as error:
            heard.append(error)

    arrived = threading.Event()
    listener = threading.Thread(target=listen)
    listener.start()
    writer.publish([group(0, 3)])
    assert arrived.wait(30)
    writer.close()
    listener.join(30)
    assert not listener.is_alive()
    first, last = heard
    assert isinstance(first, Slice)
    assert len(first.values) == 3
    assert isinstance(last, Fatal)
