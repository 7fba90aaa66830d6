"""A retry policy that never sleeps: the clock moves instead."""

from functools import partial
from importlib import import_module

import pytest

from parsec.client import RetryPolicy
from tests.support.manual_clock import ManualClock


class Waiting:
    """What was waited, and why."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.waits: list[float] = []
        self.reasons: list[str] = []
        self.retry = RetryPolicy(self.clock, self.sleep, lambda: 1.0, lambda _s, reason: self.reasons.append(reason))

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


def without_waiting(monkeypatch: pytest.MonkeyPatch, command: str) -> Waiting:
    """Retries of this command of `parsec` take no time."""
    waiting = Waiting()
    monkeypatch.setattr(
        import_module(f"parsec.cli.{command}"), "RetryPolicy", partial(RetryPolicy, sleep=waiting.sleep)
    )
    return waiting
