"""What one request says about all its events, and the ids that follow from it.

In: the request's tenant, names, body and key, and this process's identity. Out: a Context. Errors:
Rejected(invalid_tenant_id) when the header names no tenant. Next: parsec.ingest.normalize.
"""

import hashlib
from collections.abc import Iterator
from typing import Literal

import msgspec

from parsec.api.event_rules import MAX_AHEAD_S, TENANTS
from parsec.core.clock import Random
from parsec.core.errors import Rejected
from parsec.core.timestamp import SECOND
from parsec.ingest.field_mapping import FieldMap

DIGEST_SLICE_BYTES = 1 << 20


class Context(msgspec.Struct, frozen=True):
    """What one request says about all its events. `remembered` is ours: id prefixes, by tenant."""

    tenant: str | None
    tenant_fixed: bool
    fields: FieldMap
    received_at_ns: int
    received_at: str
    region: str
    node: str
    lenient: bool
    derive_ids: Literal["body", "random"]
    idempotency_key: str | None
    body: bytes
    max_event_bytes: int
    random: Random
    remembered: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def latest_s(self) -> int:
        """The last second that a timestamp may name."""
        return self.received_at_ns // SECOND + MAX_AHEAD_S


def own_tenant(context: Context) -> str:
    """The tenant of the key or header; '' if neither names one."""
    if not context.tenant:
        return ""
    try:
        return TENANTS[context.tenant]
    except Rejected as error:
        raise Rejected("invalid_tenant_id", f"X-Tenant-ID: {error.message}", field="X-Tenant-ID") from error


def digest_in_slices(context: Context) -> Iterator[None]:
    """The digest of a large body, some 0.6 ms a slice, so that whoever shares the thread has a turn in between."""
    if context.derive_ids == "body" and not context.idempotency_key and len(context.body) > DIGEST_SLICE_BYTES:
        digest, body = hashlib.sha256(), memoryview(context.body)
        for at in range(0, len(body), DIGEST_SLICE_BYTES):
            digest.update(body[at : at + DIGEST_SLICE_BYTES])
            yield
        context.remembered[":digest"] = digest.hexdigest()


def derived_prefix(tenant: str, context: Context) -> str:
    """What the ids of one tenant's events in this request begin with; the index follows."""
    if context.derive_ids == "random":
        prefix = random_prefix(context)
    else:
        key = context.idempotency_key
        if key:
            source = f"key\0{tenant}\0{key}"
        else:
            if ":digest" not in context.remembered:  # no tenant has a colon in its name
                context.remembered[":digest"] = hashlib.sha256(context.body).hexdigest()
            source = f"body\0{tenant}\0{context.remembered[':digest']}{context.fields.told}"
        prefix = hashlib.sha256(source.encode()).hexdigest()[:32]
    context.remembered[tenant] = prefix
    return prefix


def random_prefix(context: Context) -> str:
    """The same, of events that no retry can be told by."""
    if ":random" not in context.remembered:
        context.remembered[":random"] = context.random.bytes(16).hex()
    return context.remembered[":random"]
