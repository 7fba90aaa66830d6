"""Ten million events as a shop's services might write them, made fast and always the same."""

import random
from collections.abc import Iterator

from parsec.core.timestamp import DAY
from parsec.ports.store import Row

TENANT = "bench"
BLOCK = 20_000
SOURCES = [
    f"{name}-{n}" for name in ("api", "web", "orders", "payments", "search", "mail", "auth", "db") for n in range(5)
]
SEVERITIES = ["debug"] * 20 + ["info"] * 60 + ["warn"] * 12 + ["error"] * 7 + ["fatal"]
LINES = (
    "GET /api/v1/orders/{a} {b} in {c} ms",
    "POST /api/v1/cart/{a}/items {b} in {c} ms",
    "user {a} logged in from 10.{d}.{e}.7",
    "session of user {a} expired after {c} minutes",
    "cache miss for key product:{a}, loaded in {c} ms",
    "payment {a} captured, provider answered {b} after {c} ms",
    "query took {c} ms: SELECT * FROM items WHERE order_id = {a}",
    "mail to customer {a} queued on relay-{d}",
    "worker {d} took job {a} from queue default, {e} left",
    "connection to 10.{d}.{e}.9:5432 closed by peer after {c} requests",
    "retrying request {a} to upstream catalog, attempt {d}",
    "index of product {a} refreshed, {c} documents",
)
TIMED_OUT = "upstream request {a} timed out after {c} ms, giving up"
RARE = "disk quota exceeded for tenant volume {a}"
FREQUENT_ONE_IN, RARE_ONE_IN = 100, 1_000_000


def blocks(events: int, start_ns: int, span_ns: int, log_id: str) -> Iterator[list[Row]]:
    """Blocks as the processor inserts them, spread evenly over `span_ns` from `start_ns`."""
    chance = random.Random(8)
    step = span_ns // events
    for first in range(0, events, BLOCK):
        count = min(BLOCK, events - first)
        numbers = chance.choices(range(1_000_000), k=count)
        small = chance.choices(range(250), k=count)
        severities = chance.choices(SEVERITIES, k=count)
        sources = chance.choices(SOURCES, k=count)
        lines = chance.choices(LINES, k=count)
        statuses = chance.choices((200, 201, 204, 304, 404, 500, 503), (60, 10, 8, 10, 7, 3, 2), k=count)
        yield [
            _row(first + n, start_ns + (first + n) * step, log_id, (numbers[n], statuses[n], small[n]),
                 severities[n], sources[n], lines[n])
            for n in range(count)
        ]  # fmt: skip


def _row(n: int, at_ns: int, log_id: str, drawn: tuple[int, int, int], severity: str, source: str, line: str) -> Row:
    a, b, c = drawn
    if n % FREQUENT_ONE_IN == 0:
        line = TIMED_OUT
    if n % RARE_ONE_IN == 1:
        line = RARE
    metadata = (
        f'{{"status":{b},"latency_ms":{c + 0.5},"user":{{"id":{a}}},"path":"/orders/{a}","zone":"eu-{c % 3}",'
        f'"trace":"{n * 0x9E3779B97F4A7C15 % (1 << 128):032x}"}}'
    )
    return Row(
        TENANT, at_ns, severity, source, line.format(a=a, b=b, c=c, d=c % 16, e=a % 250), metadata, f"evt-{n:08d}",
        at_ns, "local", "node-1", log_id, 0, n, min(at_ns // DAY + 31, 65_535),
    )  # fmt: skip
