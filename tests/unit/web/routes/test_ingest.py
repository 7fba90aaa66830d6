"""What a small whole body gets besides the answers that tests/system look at."""

import asyncio
import sys

import pytest

from parsec.core.clock import ManualClock, Random
from parsec.ingest.budget import ByteBudget
from parsec.ingest.channel import BatchLimits, Channel
from parsec.ingest.pipeline import Identity, Pipeline, PipelineOptions
from parsec.ingest.response import Outcome
from parsec.keys.keyring import Keyring
from parsec.telemetry import Telemetry
from parsec.web.auth import Authenticator
from parsec.web.routes.ingest import IngestGuard, IngestHeaders, IngestRoute
from tests.support.ingesting import CountingRandom, compact, event


class NoRandom:
    """A generator that the kernel refuses."""

    def bytes(self, n: int) -> bytes:
        raise OSError(f"no {n} bytes")


class Rig:
    """A route whose events nobody takes out of the channel, and the answers to bodies."""

    def __init__(self, random: Random, budget_bytes: int = 1 << 20, max_body_bytes: int = 1 << 16) -> None:
        self.budget = ByteBudget(budget_bytes)
        self.channel = Channel(10, 1 << 20)
        options = PipelineOptions(Identity("local", "node-1"), 100, 1 << 16, False, "random", 30.0)
        telemetry = Telemetry()
        pipeline = Pipeline(self.channel, options, telemetry, ManualClock(), random)
        door = IngestGuard(max_body_bytes, self.budget, lambda: None, Authenticator(Keyring(None, ManualClock())))
        self.route = IngestRoute(pipeline, door, telemetry)

    def ask(self, *bodies: bytes) -> list[int]:
        """The statuses of all answers."""
        answers: list[Outcome] = []

        async def asked() -> None:
            for body in bodies:
                self.route.whole(b"ack=enqueued", IngestHeaders(), body, answers.append)

        asyncio.run(asked())
        return [outcome.status for outcome in answers]


BODY = compact(event(id=None, timestamp="2027-01-15T00:00:00Z"))


@pytest.mark.parametrize(
    ("rig", "status"),
    [
        (Rig(CountingRandom()), 200),
        (Rig(NoRandom()), 500),
        (Rig(CountingRandom(), budget_bytes=10), 429),
        (Rig(CountingRandom(), max_body_bytes=10), 413),
    ],
    ids=["taken", "a fault of ours", "no memory", "too large"],
)
def test_every_body_is_answered_once_and_gives_its_memory_back(rig: Rig, status: int) -> None:
    assert rig.ask(BODY) == [status]
    assert rig.budget.used_bytes == 0


def test_a_full_channel_refuses_and_holds_nothing() -> None:
    rig = Rig(CountingRandom())
    assert rig.ask(*[BODY] * 11) == [200] * 10 + [429]
    assert rig.budget.used_bytes == 0
    assert len(rig.channel.take(BatchLimits(sys.maxsize, sys.maxsize), 0) or []) == 10
