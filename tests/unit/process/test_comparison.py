"""The store is compared with the ledger, what it lacks is stored again, and the rest is reported, once."""

import threading
from collections.abc import Iterable, Sequence

import pytest
import structlog
from structlog.testing import LogCapture

from parsec.api.repair import StoreGap
from parsec.core.errors import Retryable
from parsec.ports.broker import Progress
from parsec.process import comparison
from parsec.process.comparison import COMPARE_EVERY_S, COMPARE_RETRY_S, Compare, StoreComparison, StoreWatch
from tests.support.processing import Rig

TICKS = 4


class Ticks(threading.Event):
    """Set after so many waits; in each of them the processor takes a turn."""

    def __init__(self, rig: Rig, ticks: int) -> None:
        super().__init__()
        self._rig = rig
        self._left = ticks

    def wait(self, timeout: float | None = None) -> bool:
        self._rig.turn(1, timeout or 0)
        self._left -= 1
        return self._left < 0


class Compared:
    """A comparison of a rig's store. `problem` is raised by the next comparison."""

    def __init__(self, *records: bytes) -> None:
        self.rig = Rig()
        self.rig.log.append(*records)
        self.rig.run_until_committed()
        self.rig.repair.idle.wait = self._idle  # type: ignore[method-assign]
        self.times = 0
        self.also_unknown: list[bool] = []
        self.whole: list[int] = []
        self.checked = 0
        self.kept: list[bool] = []
        self.ready = True
        self.problem: Retryable | None = None
        self.check_problem: Retryable | None = None
        self.compare: Compare = self._compare
        self.wanted = threading.Event()
        watch = StoreWatch(
            lambda *asked: self.compare(*asked), lambda *_: (), self.rig.processor.progress, lambda: 7,
            lambda: self.ready, self.wanted, self._check, self.kept.append, self.whole.append,
        )  # fmt: skip
        self.comparison = StoreComparison(watch, self.rig.repair, self.rig.telemetry, self.rig.clock)

    def _idle(self, timeout: float | None = None) -> bool:
        self.rig.turn(1, timeout or 0)
        return self.rig.repair.idle.is_set()

    def _compare(self, _: Iterable[Progress], also_unknown: bool) -> Sequence[StoreGap]:
        self.times += 1
        self.also_unknown.append(also_unknown)
        if self.problem is not None:
            raise self.problem
        return self.rig.gaps()

    def _check(self, _: threading.Event) -> None:
        if self.check_problem is not None:
            raise self.check_problem
        self.checked += 1

    def run(self, ticks: int = TICKS) -> None:
        self.comparison.run(Ticks(self.rig, ticks))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    capture = LogCapture()
    logger = structlog.wrap_logger(None, [capture], wrapper_class=structlog.make_filtering_bound_logger(0))
    monkeypatch.setattr(comparison, "_log", logger)
    return capture


def levels(said: LogCapture) -> list[str]:
    """Of the lines since it was asked last."""
    found = [str(line["log_level"]) for line in said.entries]
    said.entries.clear()
    return found


def test_a_whole_store_is_compared_once_and_nothing_is_said(said: LogCapture) -> None:
    compared = Compared(b"event", b"dead")
    assert compared.comparison.status().phase == "waiting"
    compared.run()
    assert levels(said) == []
    assert (compared.times, compared.whole, compared.kept) == (1, [7], [True, True, False])
    status = compared.comparison.status()
    assert (status.phase, status.missing, status.lost) == ("idle", 0, ())
    assert compared.comparison.why() is None
    assert compared.comparison.missing("") == []
    compared.rig.clock.advance(COMPARE_EVERY_S)
    compared.run()
    assert compared.times == 2


def test_until_a_start_has_compared_answers_say_that_they_may_lack_events() -> None:
    compared = Compared(b"event")
    compared.rig.lose(lambda _: True)
    compared.problem = Retryable("the store is away")
    assert compared.comparison.missing("2026") == [comparison.NOT_COMPARED]
    compared.run(1)
    assert compared.comparison.missing("2026") == [comparison.NOT_COMPARED], "nothing is known yet"
    compared.problem = None
    compared.rig.clock.advance(COMPARE_RETRY_S)
    compared.run()
    assert compared.comparison.missing("2026") == []


def test_a_log_without_events_needs_no_comparison() -> None:
    assert Compared().comparison.missing("2026") == []


def test_what_is_missing_is_reported_and_stored_again(said: LogCapture) -> None:
    compared = Compared(b"event", b"dead", b"event")
    compared.rig.lose(lambda each: each.offset > 0)
    compared.run()
    assert levels(said) == ["error", "info"]
    assert compared.comparison.status().stored_again == 2
    assert compared.comparison.why() is None
    assert compared.rig.telemetry.value("parsec_store_missing_events") == 0
    assert compared.rig.telemetry.value("parsec_store_events_stored_again_total") == 2
    compared.rig.audit()
    compared.rig.clock.advance(COMPARE_EVERY_S)
    compared.run()
    assert levels(said) == [], "said again"


def test_while_it_is_stored_again_health_and_answers_say_so() -> None:
    compared = Compared(b"event", b"event")
    compared.rig.lose(lambda _: True)
    seen: list[str] = []

    def note(name: str) -> None:
        if name == "read_again.before":
            seen.extend(filter(None, [compared.comparison.why(), *compared.comparison.missing("2026")]))

    compared.rig.clear_hooks(note)
    compared.run()
    assert seen[0].startswith("2 events that were stored are missing from the store.")
    assert seen[1] == "Events are missing from the store. They are being stored again."


def test_health_says_why_nothing_is_stored_again() -> None:
    compared = Compared(b"event")
    compared.rig.lose(lambda _: True)
    compared.rig.on("insert.before", Retryable("no space"), times=2)
    seen: list[str] = []

    def note(timeout: float | None = None) -> bool:
        seen.append(str(compared.comparison.why()))
        return compared._idle(timeout)

    compared.rig.repair.idle.wait = note  # type: ignore[method-assign]
    compared.run()
    assert any(each.endswith("It waits: no space") for each in seen)
    assert not seen[0].endswith("It waits: no space")
    assert compared.comparison.why() is None
    assert compared.comparison.status().problem is None


def test_what_the_log_has_no_more_is_lost_and_said_once(said: LogCapture) -> None:
    compared = Compared(*[b"event"] * 4)
    compared.rig.log.lose(0, 1)
    compared.rig.lose(lambda _: True)
    compared.run()
    assert levels(said) == ["error", "error"]
    (lost,) = compared.comparison.status().lost
    assert lost.rows == 2
    assert "2 events are lost from the store" in (compared.comparison.why() or "")
    assert "The log no longer has them." in compared.comparison.missing("")[0]
    assert compared.rig.telemetry.value("parsec_store_missing_events") == 2
    assert compared.whole == []
    compared.rig.clock.advance(COMPARE_EVERY_S)
    compared.run()
    assert levels(said) == []
    compared.comparison.recheck(check_parts=True)
    compared.run()
    assert compared.checked == 1, "asked for by hand"


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_recheck_comes_soon(by_hand: bool) -> None:
    compared = Compared(b"event")
    compared.run()
    if by_hand:
        assert compared.comparison.recheck(check_parts=True).phase == "waiting"
    else:
        compared.wanted.set()  # a part was detached
    compared.run()
    assert (compared.times, compared.checked) == (3 if by_hand else 2, int(by_hand))
    assert compared.also_unknown[:2] == [False, True]


def test_a_store_that_does_not_answer_is_asked_again() -> None:
    compared = Compared(b"event")
    compared.problem = Retryable("no answer")
    compared.run()
    status = compared.comparison.status()
    assert (compared.times, status.phase, status.problem) == (1, "waiting", "no answer")
    compared.problem = None
    compared.rig.clock.advance(COMPARE_RETRY_S)
    compared.run()
    status = compared.comparison.status()
    assert (status.phase, status.problem) == ("idle", None)


def test_what_was_wanted_of_a_comparison_that_failed_is_wanted_of_the_next() -> None:
    compared = Compared(b"event")
    compared.run()
    compared.problem = Retryable("no answer")
    compared.comparison.recheck()
    compared.run()
    compared.problem = None
    compared.rig.clock.advance(COMPARE_RETRY_S)
    compared.run()
    assert compared.also_unknown == [False, True, True]


def test_a_check_of_the_parts_that_failed_is_made_again() -> None:
    compared = Compared(b"event")
    compared.run()
    compared.check_problem = Retryable("no answer")
    compared.comparison.recheck(check_parts=True)
    compared.run()
    compared.check_problem = None
    compared.rig.clock.advance(COMPARE_RETRY_S)
    compared.run()
    assert compared.checked == 1


def test_a_stop_that_cancels_a_comparison_is_no_fault(said: LogCapture) -> None:
    compared = Compared(b"event")
    stop = Ticks(compared.rig, TICKS)

    def cancelled(_: Iterable[Progress], __: bool) -> Sequence[StoreGap]:
        stop.set()
        raise Retryable("cancelled")

    compared.compare = cancelled
    compared.comparison.run(stop)
    assert levels(said) == []


def test_nothing_is_compared_while_rows_are_on_the_move() -> None:
    compared = Compared(b"event")
    compared.ready = False
    compared.run()
    assert compared.times == 0
