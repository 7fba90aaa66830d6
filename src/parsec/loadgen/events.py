"""Varied log events from a seed, as the services of several tenants might write them.

In: a seed, the names of the tenants, how many events a request has. Out: the JSON of a request's events. Errors: none.
No two events are equal: each has its own random numbers, time and trace id, because a store compresses and indexes
repeated events far better than real ones. About 310 bytes an event, 20 shapes of message, 4 to 6 keys of metadata, one
of them nested. Next: parsec.loadgen.plan.

The client must be faster than the server under test: the texts of DECK events are made once, and each request only
fills in the numbers (0 to 65535), times and trace ids, in about half a microsecond an event.
"""

import os
import random
from array import array
from collections.abc import Sequence
from itertools import cycle

import msgspec

DECK = 4096
"""The number of different texts, approximately."""
_TRACE_HEX = 32
_TIME = b"@TIME@"

SEVERITIES = ("trace", "debug", "info", "warn", "error", "fatal")
_WEIGHTS = (2, 18, 60, 12, 7, 1)
_SERVICES = ("api", "web", "orders", "payments", "search", "mail", "auth", "db", "worker", "scheduler")
_CITIES = ("Berlin", "Lagos", "Osaka", "Recife", "Tallinn", "Denver", "Pune", "Lyon")
_PRODUCTS = ("lamp", "kettle", "tent", "bicycle", "notebook", "umbrella", "speaker", "backpack")
_REASONS = ("connection reset by peer", "deadline exceeded", "no route to host", "certificate has expired")
_HOSTS = tuple(f"node-{n:02d}" for n in range(24))

# {city}, {product}, ... are chosen for the deck, each % is a number of the event.
_MESSAGES = (
    "GET /api/v1/orders/% completed with status 200 in % ms",
    "POST /api/v1/carts/%/items rejected with status 422 in % ms: {product} is sold out",
    "user % signed in from 10.%.4.17 near {city}",
    "session of user % expired after % minutes of inactivity",
    "cache miss for product:%, loaded from replica in % ms",
    "payment % captured, provider answered after % ms",
    "payment % declined by issuer, attempt % of 5: {reason}",
    "slow query took % ms: select * from items where order_id = % order by created_at",
    "mail to customer % queued on relay {host}, % messages ahead",
    "worker took job % from queue default, % left",
    "upstream {host} closed the connection after % requests: {reason}",
    "retrying request % to upstream catalog, waiting % ms",
    "search for {product} in {city} matched % documents in % ms",
    "shipment % left the warehouse in {city} with % parcels",
    "disk usage of /var/lib/data on {host} is % MiB of % MiB",
    "garbage collection paused the process for % ms, freed % KiB",
    "feature flag checkout-v% enabled for % percent of tenants",
    "websocket of device % closed with code % after idle timeout",
    "TLS handshake with {host} failed: {reason}, attempt %",
    "nightly export wrote % rows to part %, next run in {city} time zone",
)


def tenant_names(count: int) -> tuple[str, ...]:
    return tuple(f"bench-{n:02d}" for n in range(count))


class EventSource:
    """Requests of `batch` events without end; the same seed draws the same texts, numbers and trace ids are always new.

    `tenants`: names to spread the events over, the first ones the largest; empty: events name no tenant, since their
    key does.
    """

    def __init__(self, seed: int, tenants: Sequence[str], batch: int) -> None:
        chance = random.Random(seed)  # noqa: S311 (texts of a benchmark)
        weights = [1 / (n + 1) for n in range(len(tenants))]
        self._batch = batch
        requests = []
        for _ in range(max(1, DECK // batch)):
            owners = chance.choices(tenants, weights, k=batch) if tenants else [""] * batch
            text = ",".join(_text(chance, owner) for owner in owners)
            requests.append((f"[{text}]".encode().split(_TIME), text.count("%d")))
        self._next = cycle(requests)

    def body(self, timestamp: str) -> bytes:
        """A JSON array. `timestamp`: RFC 3339 in UTC with milliseconds, without `Z`; each event adds digits."""
        pieces, count = next(self._next)
        numbers = array("H", os.urandom(2 * count))
        traces = os.urandom(self._batch * _TRACE_HEX // 2).hex().encode()
        text = timestamp.encode().join(pieces) % tuple(numbers)
        return text % tuple([traces[at : at + _TRACE_HEX] for at in range(0, len(traces), _TRACE_HEX)])


def _text(chance: random.Random, tenant: str) -> str:
    """One event: `%d` for each number, and `%%s` for the trace id, which is filled in after them."""
    service, host = chance.choice(_SERVICES), chance.choice(_HOSTS)
    message = chance.choice(_MESSAGES).format(
        city=chance.choice(_CITIES), product=chance.choice(_PRODUCTS), reason=chance.choice(_REASONS), host=host
    )
    user = {"id": "%", "plan": chance.choice(("free", "team", "business"))}
    metadata: dict[str, object] = {
        "host": host,
        "latency_ms": "%",
        "user" if chance.random() < 0.5 else "customer": user,
    }
    if chance.random() < 0.6:
        metadata["region"] = chance.choice(("eu-west-1", "eu-central-1", "us-east-1"))
    if chance.random() < 0.4:
        metadata["version"] = f"{chance.randint(1, 4)}.{chance.randint(0, 30)}.{chance.randint(0, 9)}"
    metadata["trace_id"] = "%s"
    event = {"tenant_id": tenant} if tenant else {}
    event |= {
        "timestamp": f"{_TIME.decode()}%Z",
        "severity": chance.choices(SEVERITIES, _WEIGHTS)[0],
        "source": f"{service}-{chance.randint(1, 3)}",
        "message": message,
        "metadata": metadata,  # type: ignore[dict-item]
    }
    # A number stands in quotes only where text surrounds it.
    encoded = msgspec.json.encode(event).decode().replace('"%s"', "\0").replace('"%"', "%").replace("%", "%d")
    return encoded.replace("\0", '"%%s"')
