"""What a small whole body gets besides the answers that tests/system look at."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from parsec.core.clock import Random, SystemRandom
from parsec.ingest.admission import Admission
from parsec.ingest.channel import BatchLimits, Channel
from parsec.ingest.pipeline import Identity, Outcome, Pipeline, PipelineOptions
from parsec.ingest.rate_limits import Policy, TenantLimits
from parsec.keys.issue import Wanted, create, revoke
from parsec.keys.keyring import Keyring
from parsec.telemetry import Telemetry
from parsec.web.auth import Authenticator
from parsec.web.request_body import RequestBodyReader
from parsec.web.routes.ingest import IngestHeaders, IngestRoute, ingest_headers
from parsec.web.routes.keyless import KeylessSenders
from tests.support.ingesting import CountingRandom, compact, event
from tests.support.manual_clock import ManualClock


class NoRandom:
    """A generator that the kernel refuses."""

    def bytes(self, n: int) -> bytes:
        raise OSError(f"no {n} bytes")


class Rig:
    """A route whose events nobody takes out of the channel, and the answers to bodies."""

    def __init__(
        self, random: Random, memory_bytes: int = 1 << 20, max_body_bytes: int = 1 << 16, keys: Path | None = None
    ) -> None:
        self.channel = Channel(10, 1 << 20)
        limits = TenantLimits(Policy(), ManualClock())
        self.admission = Admission(self.channel, limits, memory_bytes, lambda: None)
        options = PipelineOptions(Identity("local", "node-1"), 100, 1 << 16, False, "random", 30.0)
        pipeline = Pipeline(self.admission, options, Telemetry(), ManualClock(), random)
        bodies = RequestBodyReader(self.admission, max_body_bytes)
        self.ring = Keyring(keys, ManualClock())
        self.keyless = KeylessSenders(Telemetry(), "required")
        self.route = IngestRoute(pipeline, bodies, Authenticator(self.ring), self.keyless)

    def ask(self, *bodies: bytes, headers: IngestHeaders | None = None) -> list[Outcome]:
        answers: list[Outcome] = []

        async def asked() -> None:
            for body in bodies:
                self.route.ingest_whole(b"ack=enqueued", headers or IngestHeaders(), body, answers.append)

        asyncio.run(asked())
        return answers


BODY = compact(event(id=None, timestamp="2027-01-15T00:00:00Z"))


@pytest.mark.parametrize(
    ("rig", "status"),
    [
        (Rig(CountingRandom()), 200),
        (Rig(NoRandom()), 500),
        (Rig(CountingRandom(), memory_bytes=10), 429),
        (Rig(CountingRandom(), max_body_bytes=10), 413),
    ],
    ids=["taken", "a fault of ours", "no memory", "too large"],
)
def test_every_body_is_answered_once_and_gives_its_memory_back(rig: Rig, status: int) -> None:
    assert [outcome.status for outcome in rig.ask(BODY)] == [status]
    assert rig.admission.reserved_bytes == 0


def test_a_full_channel_refuses_and_holds_nothing() -> None:
    rig = Rig(CountingRandom())
    assert [outcome.status for outcome in rig.ask(*[BODY] * 11)] == [200] * 10 + [429]
    assert rig.admission.reserved_bytes == 0
    assert len(rig.channel.take(BatchLimits(sys.maxsize, sys.maxsize), 0) or []) == 10


def test_a_header_names_the_tenant_of_events_that_name_none() -> None:
    rig = Rig(CountingRandom())
    headers = IngestHeaders(tenant=" Other ")
    body = compact([event(tenant_id=None), event()])
    assert [outcome.status for outcome in rig.ask(body, headers=headers)] == [200]
    taken = rig.channel.take(BatchLimits(sys.maxsize, sys.maxsize), 0) or []
    assert [one.tenant_id for one in taken[0].events] == ["other", "acme"]


def test_a_header_that_is_no_tenants_name_refuses_the_request() -> None:
    rig = Rig(CountingRandom())
    (refused,) = rig.ask(BODY, headers=IngestHeaders(tenant="a b"))
    (error,) = refused.answer.errors
    assert (refused.status, error.code, error.field) == (400, "invalid_tenant_id", "X-Tenant-ID")
    assert rig.admission.reserved_bytes == 0


@pytest.mark.parametrize("second", [b"other", b"acme", b""])
@pytest.mark.parametrize("name", ["X-Tenant-ID", "Idempotency-Key", "Content-Encoding"])
def test_a_header_that_is_sent_twice_refuses_the_request_whatever_it_says(name: str, second: bytes) -> None:
    rig = Rig(CountingRandom())
    sent = [(b"host", b"localhost"), *((name.lower().encode(), value) for value in (b"acme", second))]
    (refused,) = rig.ask(BODY, headers=ingest_headers(sent))
    (error,) = refused.answer.errors
    assert (refused.status, error.code, error.field) == (400, "repeated_header", name)
    assert rig.admission.reserved_bytes == 0


def test_keys_that_appear_while_the_route_runs_are_required_from_then_on(tmp_path: Path) -> None:
    rig, keys, now = Rig(CountingRandom(), keys=tmp_path / "keys.toml"), tmp_path / "keys.toml", datetime.now(UTC)

    def status(*key: str) -> int:
        headers = IngestHeaders(credentials=tuple((b"x-api-key", each.encode()) for each in key))
        (outcome,) = rig.ask(BODY, headers=headers)
        return outcome.status

    assert status() == 200
    key, reader = (create(keys, Wanted((scope,), "acme"), SystemRandom(), now) for scope in ("ingest", "query"))
    assert status() == 200, "before the file is loaded"
    rig.ring.reload_if_changed()
    assert [status(), status(key), status(reader)] == [401, 200, 403]
    revoke(keys, key, now)
    rig.ring.reload_if_changed()
    assert [status(), status(key)] == [401, 401]
    keys.unlink()
    rig.ring.reload_if_changed()
    assert status() == 401, "a file that is gone opens nothing"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (b"ack=durable&ack=enqueued", "`ack` is given twice; give it once."),
        (b"source=a&source=b", "`source` is given twice; give it once."),
        (b"id_field=a&id_field=b", "`id_field` is given twice; list names with commas between."),
    ],
)
def test_a_parameter_given_twice_is_refused(query: bytes, message: str) -> None:
    answers: list[Outcome] = []
    Rig(CountingRandom()).route.ingest_whole(query, IngestHeaders(), BODY, answers.append)
    error = answers[0].answer.errors[0]
    assert (answers[0].status, error.code, error.message) == (400, "invalid_parameter", message)
