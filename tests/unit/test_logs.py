"""A line that repeats itself is written once in ten seconds; the next one says how often it was not."""

import pytest
import structlog
from structlog.typing import EventDict

from parsec.logs import REPEAT_AFTER_S, RepeatFilter
from tests.support.manual_clock import ManualClock


class Log:
    """What a filter lets through."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self._filter = RepeatFilter(self.clock.monotonic)

    def say(self, method: str, event: str, **fields: object) -> EventDict | None:
        try:
            return self._filter(None, method, {"event": event, **fields})
        except structlog.DropEvent:
            return None


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_warning_stands_for_all_of_its_text_for_a_while(log: Log) -> None:
    assert log.say("warning", "no", why="a") == {"event": "no", "why": "a"}
    assert log.say("warning", "no", why="b") is None
    assert log.say("warning", "other") == {"event": "other"}
    log.clock.advance(REPEAT_AFTER_S - 1)
    assert log.say("warning", "no", why="c") is None
    log.clock.advance(1)
    assert log.say("warning", "no", why="d") == {"event": "no", "why": "d", "repeated": 2}
    log.clock.advance(REPEAT_AFTER_S)
    assert log.say("warning", "no", why="e") == {"event": "no", "why": "e"}


def test_a_warning_about_another_day_is_no_repeat(log: Log) -> None:
    assert log.say("warning", "dropped", day="2026-11-28") is not None
    assert log.say("warning", "dropped", day="2026-11-29") is not None
    assert log.say("warning", "dropped", day="2026-11-28") is None


def test_of_errors_only_the_very_same_is_a_repeat(log: Log) -> None:
    assert log.say("error", "lost", events=1) is not None
    assert log.say("error", "lost", events=2) is not None
    assert log.say("error", "lost", events=1) is None


def test_what_is_no_trouble_and_what_has_a_stack_is_always_written(log: Log) -> None:
    for _ in range(2):
        assert log.say("info", "stats") is not None
        assert log.say("error", "died", exc_info=True) is not None
