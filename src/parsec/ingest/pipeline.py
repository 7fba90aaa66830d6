"""The story of one request on one screen: decode, normalise, offer, await the acknowledgement.

In: a request's body and what was said beside it. Out: an `Outcome` that the web layer writes down as the answer.
Errors: none escape; every refusal is an outcome with a code. Next: parsec.ingest.body.decode.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Literal

import msgspec
import structlog

from parsec.core.clock import Clock, Random
from parsec.core.envelope import Envelope
from parsec.core.errors import Rejected
from parsec.core.timestamp import SECOND
from parsec.ingest.body.decode import pieces
from parsec.ingest.channel import Channel, Fate, Submission
from parsec.ingest.context import digest_in_slices
from parsec.ingest.field_mapping import PLAIN, FieldMap, named_tenant
from parsec.ingest.in_flight import InFlight
from parsec.ingest.normalize import Context, Verdicts, normalize
from parsec.ingest.policy import Policy
from parsec.ingest.rate_limits import Cost, TenantLimits
from parsec.ingest.response import Answers, Outcome
from parsec.ingest.tenant_peek import names_in
from parsec.telemetry import Telemetry

AckMode = Literal["durable", "enqueued"]

_log = structlog.get_logger(__name__)

LITTLE = 8
"""A tenant that has less than an eighth of the channel on its way, by its requests' first events, goes beyond it."""


class Request(msgspec.Struct, frozen=True):
    """One request to ingest. `body` is already inflated."""

    body: bytes
    fields: FieldMap
    ack: AckMode = "durable"
    tenant: str | None = None
    idempotency_key: str | None = None
    tenant_fixed: bool = False
    """Events of any other tenant than `tenant` are refused."""


class _Waiting:
    """A request on its way to be durable: told once, by the worker or by its deadline (monotonic seconds)."""

    __slots__ = ("_tell", "deadline", "told")

    def __init__(self, deadline: float, tell: Callable[[Fate | TimeoutError], None]) -> None:
        self.deadline = deadline
        self.told = False
        self._tell = tell

    def tell(self, fate: Fate | TimeoutError) -> None:
        if not self.told:
            self.told = True
            self._tell(fate)


class Identity(msgspec.Struct, frozen=True):
    """What this process writes into every event it takes in."""

    region: str
    node: str


class PipelineOptions(msgspec.Struct, frozen=True):
    """Limits and rules of a request; see parsec.settings for each."""

    identity: Identity
    max_events: int
    max_event_bytes: int
    lenient: bool
    derive_ids: Literal["body", "random"]
    ack_timeout_s: float


class Pipeline:
    """Runs on the event loop; the only part of ingest that knows asyncio."""

    def __init__(
        self,
        channel: Channel,
        options: PipelineOptions,
        telemetry: Telemetry,
        clock: Clock,
        random: Random,
        takes: Callable[[int], int] = lambda wanted: wanted,
        limits: TenantLimits | None = None,
    ) -> None:
        """`takes`: the largest event that the log takes, at most the one that is wanted. `limits` None: of nobody."""
        self._channel = channel
        self._held = InFlight(max(1, channel.max_events // LITTLE), max(1, channel.max_bytes // LITTLE))
        self._limits = limits or TenantLimits(Policy(), clock)
        self._options = options
        self._telemetry = telemetry
        self.answers = Answers(telemetry)
        self._clock = clock
        self._random = random
        self._takes = takes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deadlines: deque[_Waiting] = deque()
        self._bell_due = False
        self._second = -1
        self._second_text = ""

    async def ingest(self, request: Request) -> Outcome:
        """Takes one request to its end: durable, enqueued, or refused with a reason."""
        received = self._clock.monotonic()
        verdicts = Verdicts()
        events: list[Envelope] = []
        if (refused := self._refused_unread(request)) is not None:
            return refused
        try:
            for some in self._read(request, verdicts):
                if not events and (spent := self._limits.refusal(self._limits.weigh(some, 0))) is not None:
                    return self.answers.rate_limited(spent)  # rather than read on for nothing
                events += some
                await asyncio.sleep(0)  # the turn of other requests
        except Rejected as refusal:
            self._charge_nothing_taken(request, verdicts)
            return self.answers.refused(refusal)
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def answer(outcome: Outcome) -> None:
            if not done.done():  # its client may have left
                done.set_result(outcome)

        self._submit(request, events, verdicts, received, answer)
        return await done

    def ingest_at_once(self, request: Request, answer: Callable[[Outcome], object]) -> None:
        """The same for a small body, without a turn for others and without a task; `answer` is called once."""
        received = self._clock.monotonic()
        verdicts = Verdicts()
        if (refused := self._refused_unread(request)) is not None:
            answer(refused)
            return
        try:
            events = list(chain.from_iterable(self._read(request, verdicts)))
        except Rejected as refusal:
            self._charge_nothing_taken(request, verdicts)
            answer(self.answers.refused(refusal))
            return
        self._submit(request, events, verdicts, received, answer)

    def resolve(self, submissions: Sequence[Submission], fate: Fate) -> None:
        """Called by a worker's thread once per publish; wakes the event loop once for all its requests."""
        assert self._loop is not None  # a worker can only resolve what was offered
        self._loop.call_soon_threadsafe(self._wake, submissions, fate)

    def _wake(self, submissions: Sequence[Submission], fate: Fate) -> None:
        for submission in submissions:
            self._held.remove(submission.events[0].tenant_id, len(submission.events), submission.body_bytes)
            if isinstance(submission.ticket, _Waiting):  # else enqueued mode
                try:
                    submission.ticket.tell(fate)
                except Exception:  # noqa: BLE001 (one connection's trouble is not its neighbours')
                    _log.exception("A request could not be answered.")

    def _read(self, request: Request, verdicts: Verdicts) -> Iterator[list[Envelope]]:
        """The envelopes of one piece of the body after another. Raises Rejected, at any piece, for all of them."""
        context = self._context(request)
        for _ in digest_in_slices(context):
            yield []
        for piece in pieces(request.body, self._options.max_events):
            yield normalize(piece, context, verdicts)

    def _context(self, request: Request) -> Context:
        options = self._options
        now_ns = self._clock.time_ns()
        return Context(
            tenant=request.tenant,
            tenant_fixed=request.tenant_fixed,
            fields=request.fields,
            received_at_ns=now_ns,
            received_at=self._rfc3339(now_ns),
            region=options.identity.region,
            node=options.identity.node,
            lenient=options.lenient,
            derive_ids=options.derive_ids,
            idempotency_key=request.idempotency_key,
            body=request.body,
            max_event_bytes=self._takes(options.max_event_bytes),
            random=self._random,
        )

    def _submit(
        self,
        request: Request,
        events: Sequence[Envelope],
        verdicts: Verdicts,
        received: float,
        answer: Callable[[Outcome], object],
    ) -> None:
        """Offers the events as one, and answers when they are as safe as the request asked for."""
        durable = request.ack == "durable"

        def told(fate: "Fate | TimeoutError") -> None:  # in quotes, or it would be evaluated for each request
            if isinstance(fate, Exception):
                answer(self.answers.not_durable(fate))
                return
            self._telemetry.ack_latency.observe(self._clock.monotonic() - received)
            answer(self.answers.taken_in(events, fate, verdicts))

        if not events:
            self._charge_nothing_taken(request, verdicts)
            answer(self.answers.taken_in((), request.ack, verdicts))
            return
        costs = self._limits.weigh(events, len(request.body))
        if costs and (spent := self._limits.refusal(costs)) is not None:
            answer(self.answers.rate_limited(spent))
            return
        waiting = _Waiting(received + self._options.ack_timeout_s, told) if durable else None
        if not self._offer(Submission(events, len(request.body), waiting)):
            answer(self.answers.queue_full())
            return
        self._limits.take(costs)
        self._ring_soon()
        if waiting is None:
            answer(self.answers.taken_in(events, "enqueued", verdicts))
        else:
            while self._deadlines and self._deadlines[0].told:
                self._deadlines.popleft()  # here, a few at a time: `expire` would let go of a second's worth at once
            self._deadlines.append(waiting)

    def _offer(self, submission: Submission) -> bool:
        tenant = submission.events[0].tenant_id
        if not self._channel.offer(submission):
            submission.beyond = self._held.is_little(tenant)
            if not submission.beyond or not self._channel.offer(submission):
                return False
        self._held.add(tenant, len(submission.events), submission.body_bytes)
        return True

    def _ring_soon(self) -> None:
        """Once for all requests of this turn of the event loop, so that a worker finds them together."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if not self._bell_due:
            self._bell_due = True
            self._loop.call_soon(self._ring)

    def _ring(self) -> None:
        self._bell_due = False
        self._channel.ring()

    def expire(self) -> None:
        """Once a second: ends the waiting of requests that nobody acknowledged. One timer for all of them."""
        now = self._clock.monotonic()
        while self._deadlines:
            waiting = self._deadlines[0]
            if not waiting.told:
                if waiting.deadline > now:
                    return
                waiting.tell(TimeoutError())
            self._deadlines.popleft()

    def _rfc3339(self, time_ns: int) -> str:
        seconds, ns = divmod(time_ns, SECOND)
        if seconds != self._second:
            self._second, self._second_text = seconds, f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
        return f"{self._second_text}.{ns // 1000:06d}Z"

    def not_now(self, tenant: str) -> Outcome | None:
        """The answer to a request that is refused before it is read; its tenant is '' if nothing around it says so."""
        if not self._channel.has_room() and not (self._channel.has_room(beyond=True) and self._held.is_little(tenant)):
            return self.answers.queue_full()
        spent = self._limits.spent(tenant)
        return None if spent is None else self.answers.rate_limited(spent)

    def _refused_unread(self, request: Request) -> Outcome | None:
        """The answer to a body that holds events of a tenant that has nothing left, if that is told by a glance."""
        if request.tenant_fixed or request.fields.tenant_id != PLAIN.tenant_id or not self._limits.is_pressed():
            return None
        for name in names_in(request.body):
            spent = self._limits.spent(named_tenant(name, PLAIN))
            if spent is not None:
                return self.answers.rate_limited(spent)
        return None

    def _charge_nothing_taken(self, request: Request, verdicts: Verdicts) -> None:
        """A request without any valid event was read all the same; charged if it says whose it is."""
        named = request.tenant if request.tenant_fixed else named_tenant(request.tenant, request.fields)
        if named:
            self._limits.take([Cost(named, max(1, verdicts.rejected), len(request.body))])
