"""The form of table `events`: bytes, CPU and the time of two queries for each variant, the figures of decision 0017.

    python bench/table_form.py [--blocks 10] [--block-rows 20000] [--rounds 3] [--only "NAME;..."]

Each variant runs in a process of its own on an empty directory, rounds interleaved, medians shown. CPU is user + system
time of the whole process without making rows and blocks; `merged` adds one full merge. Bytes are those after it.
"""

import json
import os
import random
import statistics
import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import astuple

from _variants import compare
from parsec.adapters.store.chdb.engine import ChdbEngine
from parsec.adapters.store.clickhouse import EVENTS_TABLE, INSERT_SETTINGS
from parsec.adapters.store.migrations import migrations
from parsec.core.timestamp import nanoseconds
from parsec.ports.store import Row

NOON = nanoseconds("2026-11-24T12:00:00Z") or 0
JSON_TYPE = "'JSON(max_dynamic_paths = 64, max_dynamic_types = 8)'"
SEARCHED = "if(empty(search_text), metadata, search_text)"
BEFORE, CHOSEN = "before", "chosen"
SHAPE = (
    r"""replaceRegexpAll(metadata, '("(?:[^"\\\\]|\\\\.)*"[ ]*:)|"[^"\\\\]*"|-?(?:0|[1-9][0-9]{0,14})"""
    r"""(?:[.][0-9]{0,3}[1-9])?|true|false|null', '\\1#')"""
)
WORDS = (
    "user", "order", "payment", "cache", "queue", "request", "session", "token", "upload", "report", "billing",
    "invoice", "catalog", "search", "index", "shard", "replica", "broker", "topic", "tenant",
)  # fmt: skip
TEMPLATES = (
    "GET /api/v1/{w}/{a} {s} in {c} ms", "POST /api/v2/{w}/{a}/items {s} in {c} ms",
    "user {a} logged in from 10.{d}.{e}.7", "session {h} of user {a} expired after {c} minutes",
    "cache miss for key {w}:{a}, loaded in {c} ms",
    "payment {a} captured, provider answered {s} after {c} ms", "query of {w} by id {a} took {c} ms",
    "mail to customer {a} queued on relay-{d}", "worker {d} took job {h} from queue {w}, {e} left",
    "connection to 10.{d}.{e}.9:5432 closed by peer after {c} requests", "retrying request {h} to {w}, attempt {d}",
    "index of {w} {a} refreshed, {c} documents", "upstream request {h} timed out after {c} ms, giving up",
    "disk usage of /var/lib/{w} is {d} percent", "leader election of {w}-{d} won in term {e}",
    "TLS handshake with 10.{e}.{d}.3 failed: certificate expired", "rate limit reached, {c} requests refused",
    "deploy of {w} version 1.{d}.{e} finished in {c} s", "feature flag {w}_{d} evaluated to true for user {a}",
    "job {h} failed: connection reset by peer",
)  # fmt: skip


class Variant(msgspec.Struct, frozen=True):
    """How a table differs from migration 6; `before`: from migrations 1 and 3 instead, with their inserts."""

    change: tuple[tuple[str, str], ...] = ()
    before: bool = False


_CAST = (
    f"ifNull(\n            accurateCastOrNull(\n                {SEARCHED}, {JSON_TYPE}),\n"
    f"            CAST('{{}}', {JSON_TYPE}))"
)
_PATHS = "    paths LowCardinality(String) MATERIALIZED toJSONString(JSONAllPaths(attributes)),\n"
_ORDER = "ORDER BY (tenant_id, toStartOfSecond(timestamp), log_id, partition, offset)"
_SHAPE = (_PATHS, f"{_PATHS}    shape LowCardinality(String) MATERIALIZED {SHAPE},\n")

VARIANTS: dict[str, Variant] = {
    BEFORE: Variant(before=True),
    CHOSEN: Variant(),
    "JSONExtract": Variant(((_CAST, f"JSONExtract({SEARCHED}, {JSON_TYPE})"),)),
    "no paths": Variant(((_PATHS, ""),)),
    "by timestamp": Variant(((_ORDER, "ORDER BY (tenant_id, timestamp)"),)),
    "timestamp in Delta": Variant((("CODEC(GCD, ZSTD(1))", "CODEC(Delta, ZSTD(1))"),)),
    "statistics": Variant((("    auto_statistics_types = '',\n", ""),)),
    "shape beside the text": Variant((_SHAPE,)),
    "shape, no text": Variant((_SHAPE, ("    metadata String CODEC(ZSTD(1)),", "    metadata String EPHEMERAL,"))),
}


def rows(first: int, count: int, chance: random.Random) -> list[Row]:
    """About 310 bytes each as sent: 20 tenants, 20 templates, 4 to 6 keys, one nested, 50,000 events a second."""
    return [_row(n, chance) for n in range(first, first + count)]


def _row(n: int, chance: random.Random) -> Row:
    received = NOON + n * 20_000 // 100_000_000 * 100_000_000
    at = (NOON + n * 20_000) // 1_000_000 * 1_000_000 - chance.randrange(200) * 1_000_000
    a, c, d, e = chance.randrange(1_000_000), chance.randrange(2000), chance.randrange(16), chance.randrange(250)
    h, s, w = f"{chance.getrandbits(64):016x}", chance.choice((200, 200, 201, 404, 500, 503)), chance.choice(WORDS)
    metadata: dict[str, Any] = {
        "host": f"node-{d:02d}", "status": s, "latency_ms": chance.randrange(15_000) / 10,
        "user": {"id": a, "plan": chance.choice(("free", "pro", "team"))},
    }  # fmt: skip
    if n % 2:
        metadata["trace_id"] = f"{chance.getrandbits(128):032x}"
    if n % 3 == 0:
        metadata["region"] = chance.choice(("eu-west-1", "us-east-1"))
    return Row(
        f"tenant-{min(int(chance.expovariate(0.2)), 19)}", at,
        chance.choice(("info", "info", "info", "debug", "warn", "error")),
        f"{chance.choice(('api', 'web', 'db', 'auth'))}-{d % 5}",
        chance.choice(TEMPLATES).format(a=a, c=c, d=d, e=e, h=h, s=s, w=w), json.dumps(metadata, separators=(",", ":")),
        f"{chance.getrandbits(96):024x}", received, "local", "node-1", "2f6c1f5e8f364bd4a41c6f6a3a1b2c3d", 0, n, 65_000,
    )  # fmt: skip


def create(client: Any, variant: Variant) -> None:
    known = {migration.name: migration for migration in migrations()}
    statements = [*known["events"].statements, *known["message_words"].statements]
    if not variant.before:
        statements = known["events_by_second"].statements
    for old, new in variant.change:
        assert old in statements[0], old
        statements[0] = statements[0].replace(old, new)
    for statement in statements:
        client.command(statement)


def cpu_s() -> float:
    used = os.times()
    return used.user + used.system


def asked_ms(client: Any, sql: str) -> float:
    """The median of five times."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        client.query(sql)
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def run(name: str, blocks: int, block_rows: int, directory: str) -> dict[str, float]:
    variant, engine = VARIANTS[name], ChdbEngine(Path(directory) / "store")
    client = engine.connect({})
    create(client, variant)
    engine.make_durable(client)
    settings = ", ".join(
        f"{key} = {value}" for key, value in INSERT_SETTINGS.items() if not (variant.before and "infer" in key)
    )
    chance, began, making = random.Random(5), cpu_s(), 0.0
    for number in range(blocks):
        before = time.thread_time()
        block = EVENTS_TABLE.block(list(map(astuple, rows(number * block_rows, block_rows, chance))))
        making += time.thread_time() - before
        engine.write(client, EVENTS_TABLE, f"{settings}, insert_deduplication_token = 't{number}'", [block])
    inserted = cpu_s() - began - making
    client.command("OPTIMIZE TABLE events FINAL")
    while client.command("SELECT count() FROM system.merges"):
        time.sleep(0.1)
    merged, count = cpu_s() - began - making, blocks * block_rows
    size = "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'events'"
    second = "" if variant.before or name == "by timestamp" else "toStartOfSecond(timestamp) DESC, "
    paths = "SELECT arrayJoin(JSONAllPaths(attributes)) AS path, count() FROM events GROUP BY path"
    if not variant.before and name != "no paths":
        paths = (
            "SELECT arrayJoin(JSONExtract(paths, 'Array(String)')) AS path, sum(n) FROM "
            "(SELECT paths, count() AS n FROM events GROUP BY paths) GROUP BY path"
        )
    newest = f"SELECT timestamp FROM events WHERE tenant_id = 'tenant-3' ORDER BY {second}timestamp DESC LIMIT 100"  # noqa: S608
    out = {
        "insert us": inserted / count * 1e6,
        "merged us": merged / count * 1e6,
        "bytes": int(str(client.command(size))) / count,
        "last 100 ms": asked_ms(client, newest),
        "fields ms": asked_ms(client, paths),
    }
    client.close()
    return out


if __name__ == "__main__":
    compare(VARIANTS, run, __doc__, __file__, 10)
