"""What a load sends and when, and an exact account of the answers; no socket.

In: a Plan (connections, batch, rate, duration) and the answers. Out: requests as bytes with their due times, and a
Result. Errors: ValueError when the URL is no address; Rejected when Parsec refuses requests for good before it accepted
any, or when the answers are not Parsec's. Next: parsec.loadgen.connection.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter

import msgspec

from parsec.api.address import parse_address
from parsec.api.ingest import decode_ingest_answer
from parsec.api.problem import refusal
from parsec.core.errors import Rejected
from parsec.loadgen.events import EventSource

_STEPS_PER_OCTAVE = 32


class Plan(msgspec.Struct, frozen=True):
    """What to send. `rate`: events per second in total, 0 for no limit. `events`: how many; 0: until `duration_s`.

    `tenants`: names to spread the events over; none: the key's. `seed`: of the events' texts.
    """

    url: str
    connections: int = 8
    batch: int = 100
    rate: float = 0.0
    duration_s: float = 10.0
    events: int = 0
    tenants: tuple[str, ...] = ("bench",)
    seed: int = 0
    ack: str = "durable"
    timeout_s: float = 30.0
    api_key: str | None = None
    ca_file: str | None = None


class Latencies:
    """A histogram of seconds with steps of 2.2 %, in bounded memory for a run of any length."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0

    def add(self, seconds: float) -> None:
        step = int(math.log2(max(seconds, 1e-6) * 1e6) * _STEPS_PER_OCTAVE)
        self._counts[step] = self._counts.get(step, 0) + 1
        self.count += 1

    def quantile(self, q: float) -> float:
        """Upper edge of the step that holds the q-quantile, in seconds; 0 without any."""
        left = q * self.count
        for step in sorted(self._counts):
            left -= self._counts[step]
            if left <= 0:
                return float(2 ** ((step + 1) / _STEPS_PER_OCTAVE) / 1e6)
        return 0.0


class Result(msgspec.Struct):
    """What was sent and what was answered, in events unless the name says otherwise.

    `refused`: valid events that were certainly not accepted. `unanswered`: events of unknown fate. `unsent`: events
    that were due by the rate, but found no free connection. `latencies`: of requests answered with 200.
    """

    seconds: float = 0.0
    requests: int = 0
    accepted: int = 0
    rejected: int = 0
    refused: int = 0
    unanswered: int = 0
    unsent: int = 0
    reconnected: int = 0
    statuses: dict[int, int] = {}
    latencies: Latencies = msgspec.field(default_factory=Latencies)


class Schedule:
    """The requests of one run, shared by its connections; `result` grows with each answer."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = perf_counter) -> None:
        """Raises ValueError when the plan's url is no address. `ends_at` is infinite when the plan counts events."""
        self.plan = plan
        self.clock = clock
        self.address = parse_address(plan.url)
        self.tls = self.address.tls_context(plan.ca_file)
        self.result = Result(statuses={})
        self.sent_requests = 0
        self._source = EventSource(plan.seed, plan.tenants, plan.batch)
        key = f"Authorization: Bearer {plan.api_key}\r\n" if plan.api_key else ""
        self._head = (
            f"POST {self.address.prefix}/ingest?ack={plan.ack} HTTP/1.1\r\nHost: {self.address.authority}\r\n{key}"
            "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        ).encode()
        self.begin()

    def begin(self) -> None:
        """The first request is due now."""
        self.started = self.clock()
        self.ends_at = math.inf if self.plan.events else self.started + self.plan.duration_s

    def end(self) -> None:
        """Completes `result`."""
        self.result.seconds = self.clock() - self.started
        if not self.plan.events:
            due = int(self.plan.rate * self.plan.duration_s)
            self.result.unsent = max(0, due - self.sent_requests * self.plan.batch)

    def next_request(self) -> tuple[bytes, float | None] | None:
        """The next request and its due time by the clock (None: at once); None alone: the plan is fulfilled."""
        plan = self.plan
        now = self.clock()
        sent_events = self.sent_requests * plan.batch
        due = self.started + sent_events / plan.rate if plan.rate else None
        if plan.events and sent_events >= plan.events:
            return None
        if now >= self.ends_at or (due is not None and due >= self.ends_at):
            return None
        self.sent_requests += 1
        timestamp = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
        body = self._source.body(timestamp)
        return self._head % len(body) + body, due

    def count(self, status: int, body: bytes, seconds: float) -> bool:
        """Counts one answer; True: it asks for a pause. Raises Rejected when it makes no sense to go on."""
        result, batch = self.result, self.plan.batch
        result.requests += 1
        result.statuses[status] = result.statuses.get(status, 0) + 1
        if status == 200:
            answer = decode_ingest_answer(body)
            if answer is None or answer.accepted + answer.rejected != batch:
                raise Rejected("not_parsec", f"status 200 has no verdict for each of {batch} events; check the address")
            result.accepted += answer.accepted
            result.rejected += answer.rejected
            if not result.accepted and answer.errors:
                first = answer.errors[0]
                raise Rejected(first.code, first.message, field=first.field)
            result.latencies.add(seconds)
            return False
        if status == 429 or status >= 500:
            if status == 429 or refusal(status, body).code == "unavailable":
                result.refused += batch
            else:  # not durable in time, or a bug or a proxy on the way: they may arrive all the same
                result.unanswered += batch
            return True
        answer = decode_ingest_answer(body) if status == 400 else None
        if result.accepted or (answer is not None and answer.rejected):
            result.rejected += batch
        if not result.accepted:
            raise refusal(status, body)
        return False

    def count_unanswered(self) -> None:
        """Counts a request that lost its connection: its fate is unknown."""
        self.result.unanswered += self.plan.batch
