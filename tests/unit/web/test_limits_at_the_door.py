"""A key says whose a request is: its tenant's limit is asked before the body is, whatever the address says."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from parsec.core.clock import SystemRandom
from parsec.ingest.admission import Admission
from parsec.ingest.channel import Channel
from parsec.ingest.pipeline import Identity, Outcome, Pipeline, PipelineOptions
from parsec.ingest.rate_limits import Allowance, Policy, Rate, TenantLimits
from parsec.keys import issue
from parsec.keys.keyring import Keyring
from parsec.telemetry import Telemetry
from parsec.web.auth import Authenticator
from parsec.web.request_body import RequestBodyReader
from parsec.web.routes.ingest import IngestHeaders, IngestRoute
from parsec.web.routes.keyless import KeylessSenders
from tests.support.ingesting import CountingRandom, compact, event
from tests.support.manual_clock import ManualClock


class Rig:
    """A route with keys and a limit of 3 events."""

    def __init__(self, keys: Path) -> None:
        self.keys = keys
        clock = ManualClock()
        issue.create(keys, issue.Wanted(["admin"]), SystemRandom(), datetime.now(UTC))
        options = PipelineOptions(Identity("local", "node-1"), 100, 1 << 16, False, "random", 30.0)
        limits = TenantLimits(Policy(Allowance(events=Rate(1, 3))), clock)
        admission = Admission(Channel(1000, 1 << 20), limits, 1 << 20, lambda: None)
        pipeline = Pipeline(admission, options, Telemetry(), clock, CountingRandom())
        self._ring = Keyring(keys, clock)
        self.route = IngestRoute(
            pipeline,
            RequestBodyReader(admission, 1 << 16),
            Authenticator(self._ring),
            KeylessSenders(Telemetry(), "required"),
        )

    def key(self, tenant: str) -> str:
        made = issue.create(self.keys, issue.Wanted(["ingest"], tenant), SystemRandom(), datetime.now(UTC))
        self._ring.reload_if_changed()
        return made

    def ask(self, *requests: tuple[str, bytes, bytes]) -> list[str]:
        """Key, body and query of each to the first code of its answer; empty when all was well."""
        answers: list[Outcome] = []

        async def asked() -> None:
            for key, body, query in requests:
                heads = IngestHeaders(credentials=((b"x-api-key", key.encode()),))
                self.route.ingest_whole(query, heads, body, answers.append)

        asyncio.run(asked())
        return [one.answer.errors[0].code if one.answer.errors else "" for one in answers]


BODY = compact(event(tenant_id=None, id=None, timestamp="2027-01-15T00:00:00Z"))
NONSENSE = b"this is no JSON"
ENQUEUED, ELSEWHERE = b"ack=enqueued", b"ack=enqueued&tenant_id=acme"


def test_the_tenant_of_the_key_is_refused_before_its_body_is_read(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "keys.toml")
    acme, other = rig.key("acme"), rig.key("other")
    sent = [(acme, BODY, ENQUEUED)] * 4 + [(acme, NONSENSE, ENQUEUED), (other, BODY, ENQUEUED)]
    assert rig.ask(*sent) == ["", "", "", "rate_limited", "rate_limited", ""]


def test_the_address_does_not_move_a_request_to_another_tenants_limit(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "keys.toml")
    acme, other = rig.key("acme"), rig.key("other")
    sent = [(other, NONSENSE, ELSEWHERE)] * 4 + [(acme, BODY, ENQUEUED)]
    assert rig.ask(*sent) == ["invalid_json"] * 3 + ["rate_limited", ""]
