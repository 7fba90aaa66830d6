"""Decide whether a request may enter: room in the channel, memory for its body, its tenant's share and rate limits.

In: the tenant and size of a request before its body is read (`admit`), its events after decoding (`offer`). Out: None,
or the Overload to answer with. Errors: none. Next: parsec.ingest.channel.

1. Nothing is held of a refused request. What `admit`, `reserve` and `offer` took of an admitted one is given back by
   `release` and `leave`, once each.
2. Capacity goes to whoever comes first. Beyond it there is a part for tenants with little in flight, so that a tenant
   that floods fills only the first. Equal parts would have to be taken back from a tenant that was alone until then.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from parsec.api.event_rules import tenant_name
from parsec.core.envelope import Envelope
from parsec.ingest.body.fast_path import QUICK_BYTES, UNREADABLE
from parsec.ingest.channel import Channel, Submission
from parsec.ingest.rate_limits import Spent, TenantLimits

CHANNEL_SHARE = 8
"""A tenant with less than an eighth of the channel in flight may exceed the channel's bounds."""
MEMORY_SHARE, MEMORY_BEYOND = 16, 4
"""A tenant with less than a 16th of the memory for bodies may exceed it, by up to a quarter of it."""
SMALL_BODY_BYTES = 64 << 10
"""A body up to this size may exceed it, too, when its request names no tenant: it takes many to fill the rest."""

NOTHING = (0, 0)

RETRY_AFTER_S = 1
"""A full channel empties in well under a second."""


class Overload(msgspec.Struct, frozen=True):
    """Why a request is refused that may succeed later. `code`: of parsec.api.ingest. `spent`: of a rate limit."""

    code: str
    message: str
    retry_after_s: int = RETRY_AFTER_S
    spent: Spent | None = None


QUEUE_FULL = Overload(
    "queue_full",
    "The queue is full: events arrive faster than they can be made durable. Send the same request again.",
)
TOO_MANY_BODIES = Overload(
    "too_many_bodies",
    "The bodies of other requests use up the memory for bodies (PARSEC_INGEST_MEMORY). Send the same request again.",
)


class Admission:
    """Used on the event loop only. A tenant is '' while it is unknown."""

    def __init__(
        self, channel: Channel, limits: TenantLimits, memory_bytes: int, closed_because: Callable[[], str | None]
    ) -> None:
        """`memory_bytes`: for the bodies of all requests in flight. `closed_because`: why no event can be made durable
        now, or None."""
        self.limits = limits
        self.reserved_bytes = 0
        self._channel = channel
        self._memory_bytes = memory_bytes
        self._closed_because = closed_because
        self._in_channel: dict[str, tuple[int, int]] = {}  # events and bytes of each tenant that has any
        self._in_memory: dict[str, int] = {}  # bytes, likewise

    def admit(self, tenant: str, body_bytes: int = 0) -> Overload | None:
        """Before the body is read. Reserves memory for `body_bytes`, the part of the body that has arrived."""
        why = self._closed_because()
        if why is not None:
            return Overload("unavailable", why)
        channel = self._channel
        if not channel.has_room() and not (channel.has_room(beyond=True) and self._has_little(tenant)):
            return QUEUE_FULL
        if self.limits.active and (limited := self._rate_limited((tenant,))) is not None:
            return limited
        return None if self.reserve(tenant, 0, body_bytes) else TOO_MANY_BODIES

    def reserve(self, tenant: str, held_bytes: int, more_bytes: int) -> bool:
        """Memory for more of a body that holds `held_bytes` already."""
        reserved = self.reserved_bytes + more_bytes
        if reserved > self._memory_bytes:
            if tenant:
                little = self._in_memory.get(tenant, 0) < self._memory_bytes // MEMORY_SHARE
            else:
                little = held_bytes + more_bytes <= SMALL_BODY_BYTES
            if not little or reserved > self._memory_bytes + self._memory_bytes // MEMORY_BEYOND:
                return False
        self.reserved_bytes = reserved
        self._in_memory[tenant] = self._in_memory.get(tenant, 0) + more_bytes
        return True

    def release(self, tenant: str, body_bytes: int) -> None:
        """The request is answered: its body no longer takes memory."""
        self.reserved_bytes -= body_bytes
        left = self._in_memory[tenant] - body_bytes
        if left:
            self._in_memory[tenant] = left
        else:
            del self._in_memory[tenant]

    def glance(self, body: bytes) -> Overload | None:
        """Before decoding, if a tenant was refused a moment ago: read only the tenants that the body names, a tenth of
        the work, and refuse it if one of them may send nothing now. Call it only while limits are active."""
        limits = self.limits
        if not limits.is_pressed():
            return None
        names = (tenant_name(text) for text in tenants_named(body))
        return self._rate_limited(name for name in names if name)

    def over_limit(self, events: Sequence[Envelope]) -> Overload | None:
        """Whether a tenant of these events may send nothing now: asked early in a long body."""
        return self._rate_limited({event.tenant_id for event in events}) if self.limits.active else None

    def offer(self, submission: Submission, events_by_tenant: Mapping[str, int]) -> Overload | None:
        """After decoding: put the events into the channel as one, and charge each tenant for its own."""
        limits = self.limits
        if limits.active and (limited := self._rate_limited(events_by_tenant)) is not None:
            return limited
        tenant = next(iter(events_by_tenant))  # the first event's
        if not self._channel.offer(submission):
            submission.beyond = self._has_little(tenant)
            if not submission.beyond or not self._channel.offer(submission):
                return QUEUE_FULL
        events, size_bytes = self._in_channel.get(tenant, NOTHING)
        self._in_channel[tenant] = events + len(submission.events), size_bytes + submission.body_bytes
        if limits.active:
            limits.take(events_by_tenant, submission.body_bytes)
        return None

    def leave(self, events_by_tenant: Mapping[str, int], body_bytes: int) -> None:
        """The fate of offered events is known."""
        tenant = next(iter(events_by_tenant))
        events, size_bytes = self._in_channel[tenant]
        left = events - sum(events_by_tenant.values()), size_bytes - body_bytes
        if left == NOTHING:
            del self._in_channel[tenant]
        else:
            self._in_channel[tenant] = left

    def charge_rejected(self, tenant: str, events: int, body_bytes: int) -> None:
        """A body without a valid event was decoded all the same: charge its tenant, if that is known."""
        if self.limits.active and tenant:
            self.limits.take({tenant: max(1, events)}, body_bytes)

    def _rate_limited(self, tenants: Iterable[str]) -> Overload | None:
        spent = self.limits.refusal(tenants)
        if spent is None:
            return None
        message = (
            f"Tenant {spent.tenant} has used up its {spent.what} for now: {spent.rate.per_s:g} per second, "
            f"{spent.rate.burst:g} at once. No event was accepted; send the same request again in "
            f"{spent.retry_after_s} s."
        )
        return Overload("rate_limited", message, spent.retry_after_s, spent)

    def _has_little(self, tenant: str) -> bool:
        events, size_bytes = self._in_channel.get(tenant, NOTHING)
        channel = self._channel
        return events < max(1, channel.max_events // CHANNEL_SHARE) and size_bytes < channel.max_bytes // CHANNEL_SHARE


class _Named(msgspec.Struct, gc=False):
    tenant_id: str = ""


class _Batch(msgspec.Struct, gc=False):
    tenant_id: str = ""
    events: list[_Named] = []


_ARRAY = msgspec.json.Decoder(list[_Named])
_OBJECT = msgspec.json.Decoder(_Batch)
_LINES = msgspec.json.Decoder(_Named)


def tenants_named(body: bytes) -> set[str]:
    """The tenants in an array, a batch, one event or lines of events, as spelled; '' for an event that names none.

    None in a body of unusual shape, or in a large one: it is decoded in chunks and refused then.
    """
    if len(body) > QUICK_BYTES:
        return set()
    try:
        if body.startswith(b"["):
            return {one.tenant_id for one in _ARRAY.decode(body)}
        try:
            whole = _OBJECT.decode(body)
        except msgspec.DecodeError:
            return {one.tenant_id for one in _LINES.decode_lines(body)}
        return {whole.tenant_id, *(one.tenant_id for one in whole.events)}
    except UNREADABLE:
        return set()
