"""Which form of `metadata`, which insert format, indexes, codecs and settings: the figures of decision 0001.

    python bench/metadata_form.py [--blocks 50] [--block-rows 20000] [--rounds 3] [--only "NAME;..."]

Each variant runs in a process of its own on an empty directory, rounds interleaved, medians shown. CPU is user + system
time of the whole process; `engine` leaves out making test events, rows and blocks, which `python` counts (decode,
check, row, block). `merges` is the engine's work after the last insert until no merge runs, spread over all events.
"""

import json
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import astuple

from _variants import compare
from parsec.adapters.store import native
from parsec.adapters.store.chdb.engine import ChdbEngine
from parsec.adapters.store.clickhouse import EVENTS_TABLE, INSERT_SETTINGS
from parsec.adapters.store.migrations import migrations
from parsec.core.envelope import Envelope, encode_one
from parsec.core.timestamp import DAY, nanoseconds, text_of
from parsec.ports.broker import Slice
from parsec.ports.store import Row
from parsec.process.batching import rows_of
from parsec.process.rows import Rules, rows

CHOSEN = "chosen"
NOW = nanoseconds("2026-11-24T00:00:00Z") or 0
RULES = Rules(30 * 86_400.0, NOW)
TEXT_INDEX = "INDEX message_words lower(message) TYPE text(tokenizer = 'splitByNonAlpha')"
WORD_BLOOM = "INDEX message_words lower(message) TYPE tokenbf_v1(8192, 3, 0) GRANULARITY 1"
JSON_TYPE = "JSON(max_dynamic_paths = 64, max_dynamic_types = 8)"
MAP = "Map(LowCardinality(String), String)"
ON_TEXT = ("JSONExtractString(metadata, 'region') = 'eu-west-1'", "JSONExtractFloat(metadata, 'latency_ms') > 740")
ON_MAP = ("attributes['region'] = 'eu-west-1'", "toFloat64OrNull(attributes['latency_ms']) > 740")
ON_JSON = ("attributes.region.:String = 'eu-west-1'", "attributes.latency_ms.:Float64 > 740")


class Variant(msgspec.Struct, frozen=True):
    """How a table differs from migration 0001, and how rows get into it."""

    change: tuple[tuple[str, str], ...] = ()
    words: str = TEXT_INDEX
    fmt: str = "Native"
    asks: tuple[str, str] = ON_JSON


def _attributes(ddl: str) -> str:
    start = ddl.index("    search_text String")
    return ddl[start : ddl.index("    INDEX timestamp_minmax")]


NAMES = list(EVENTS_TABLE.types)
DDL = migrations()[0].sql
ATTRIBUTES = _attributes(DDL)
NO_ATTRIBUTES = (ATTRIBUTES, "    search_text String EPHEMERAL,\n")
AS_MAP = (
    ATTRIBUTES,
    f"    search_text String EPHEMERAL,\n    attributes {MAP} MATERIALIZED JSONExtract(metadata, '{MAP}') "
    "CODEC(ZSTD(1)),\n",
)
PLAIN_MERGES = ("    vertical_merge_algorithm_min_rows_to_activate = 1,\n", "")
NO_SYNC = tuple(
    (f"{name} = 1", f"{name} = 0")
    for name in (
        "fsync_after_insert",
        "fsync_part_directory",
        "min_rows_to_fsync_after_merge",
        "min_compressed_bytes_to_fsync_after_merge",
    )
)

VARIANTS: dict[str, Variant] = {
    CHOSEN: Variant(),
    "no searchable form": Variant((NO_ATTRIBUTES,), asks=ON_TEXT),
    "map, top level": Variant((AS_MAP,), asks=ON_MAP),
    "16 paths": Variant((("max_dynamic_paths = 64", "max_dynamic_paths = 16"),)),
    "JSON in LZ4": Variant((("        CODEC(ZSTD(1)),\n\n", "        CODEC(LZ4),\n\n"),)),
    "texts in LZ4": Variant((("message String CODEC(ZSTD(1))", "message String CODEC(LZ4)"),
                             ("metadata String CODEC(ZSTD(1))", "metadata String CODEC(LZ4)"))),
    "texts in ZSTD(3)": Variant((("message String CODEC(ZSTD(1))", "message String CODEC(ZSTD(3))"),
                                 ("metadata String CODEC(ZSTD(1))", "metadata String CODEC(ZSTD(3))"))),
    "no word index": Variant(words=""),
    "token bloom": Variant(words=WORD_BLOOM),
    "no sync": Variant(NO_SYNC),
    "merge base 5": Variant((("merge_selector_base = 16", "merge_selector_base = 5"),)),
    "horizontal merges": Variant((PLAIN_MERGES,)),
    "nothing but text": Variant((NO_ATTRIBUTES,), words="", asks=ON_TEXT),
    "nothing but text, JSONCompactEachRow": Variant((NO_ATTRIBUTES,), "", "JSONCompactEachRow", ON_TEXT),
    "nothing but text, JSONEachRow": Variant((NO_ATTRIBUTES,), "", "JSONEachRow", ON_TEXT),
    "nothing but text, TSV": Variant((NO_ATTRIBUTES,), "", "TabSeparated", ON_TEXT),
    "nothing but text, RowBinary": Variant((NO_ATTRIBUTES,), "", "RowBinary", ON_TEXT),
    "nothing but text, driver's Native": Variant((NO_ATTRIBUTES,), "", "driver", ON_TEXT),
}  # fmt: skip

QUERIES = {
    "word ms": "SELECT * FROM events WHERE hasToken(lower(message), 'checkout') ORDER BY timestamp DESC LIMIT 100",
    "rare word ms": "SELECT * FROM events WHERE hasToken(lower(message), 'zanzibar') ORDER BY timestamp DESC LIMIT 100",
    "key = value ms": "SELECT count() FROM events WHERE {equals}",
    "number > n ms": "SELECT count() FROM events WHERE {greater}",
    "by severity ms": "SELECT severity, count() FROM events GROUP BY severity",
    "one id ms": "SELECT * FROM events WHERE id = '{id}'",
    "last 100 ms": "SELECT * FROM events WHERE tenant_id = 'tenant-3' ORDER BY timestamp DESC LIMIT 100",
}

WORDS = ("user", "order", "payment", "cache", "queue", "request", "session", "token", "upload", "report", "billing")


def events(count: int, block_rows: int) -> Iterator[list[bytes]]:
    """Blocks of envelopes, about 290 bytes each as sent, 20 skewed tenants, four metadata keys, one of them nested."""
    rnd = random.Random(7)
    for block in range(count):
        yield [encode_one(event(rnd, i)) for i in range(block * block_rows, (block + 1) * block_rows)]


def event(rnd: random.Random, i: int) -> Envelope:
    moment = NOW - DAY + i * 1_000_000
    word = "checkout" if rnd.random() < 0.0005 else rnd.choice(WORDS)
    word = "zanzibar" if i % 1_000_000 == 12_345 else word
    metadata = {
        "user": {"id": rnd.randrange(100_000), "plan": rnd.choice(("free", "pro"))},
        "latency_ms": rnd.randrange(1500) / 2,
        "region": rnd.choice(("eu-west-1", "us-east-1", "us-west-2", "ap-south-1")),
        "trace": f"{rnd.getrandbits(64):016x}",
    }
    return Envelope(
        1, f"tenant-{min(int(rnd.expovariate(0.3)), 19)}", f"{rnd.getrandbits(96):024x}", text_of(moment),
        rnd.choice(("info", "info", "info", "debug", "warn", "error")),
        rnd.choice(("api", "web", "db", "auth", "mail")),
        f"{word} {rnd.choice(WORDS)} {i} completed with status 200 in {i % 500}ms for /api/v1/{word}",
        msgspec.Raw(json.dumps(metadata, separators=(",", ":")).encode()),
        text_of(moment // 100_000_000 * 100_000_000), "local", "node-1",
    )  # fmt: skip


def cells(row: Row) -> list[Any]:
    """A row for the text formats: moments as `YYYY-MM-DD hh:mm:ss.f`, which they read fastest."""
    values = list(astuple(row))
    for place in (1, 7):
        values[place] = text_of(values[place]).replace("T", " ").rstrip("Z")
    values[13] = "2026-12-24"
    return values


def tsv(made: list[Row]) -> bytes:
    escapes = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n"})
    return "\n".join(["\t".join([str(value).translate(escapes) for value in cells(row)]) for row in made]).encode()


def row_binary(made: list[Row]) -> bytes:
    out = bytearray()
    for row in made:
        for name, kind in EVENTS_TABLE.types.items():
            value = getattr(row, name)
            if isinstance(value, int):
                out += value.to_bytes({"UInt32": 4, "Date": 2}.get(kind, 8), "little")
            else:
                text = value.encode()
                out += native._varint(len(text))
                out += text
    return bytes(out)


_ENCODER = msgspec.json.Encoder()
ENCODERS: dict[str, Callable[[list[Row]], bytes]] = {
    "Native": lambda made: EVENTS_TABLE.block(list(map(astuple, made))),
    "JSONCompactEachRow": lambda made: _ENCODER.encode_lines([cells(row) for row in made]),
    "JSONEachRow": lambda made: _ENCODER.encode_lines([dict(zip(NAMES, cells(row), strict=True)) for row in made]),
    "TabSeparated": tsv,
    "RowBinary": row_binary,
}


def cpu_s() -> float:
    used = os.times()
    return used.user + used.system


def insert(client: Any, made: list[Row], fmt: str, token: str) -> float:
    """Inserts one block; the seconds of Python's own work in it."""
    before = time.thread_time()
    settings = {name: str(value).strip("'") for name, value in INSERT_SETTINGS.items()}
    settings["insert_deduplication_token"] = token
    if fmt == "driver":
        values = list(zip(*map(astuple, made), strict=True))
        types = list(EVENTS_TABLE.types.values())
        client.insert("events", values, NAMES, column_type_names=types, column_oriented=True, settings=settings)
        return 0.0
    block = ENCODERS[fmt](made)
    python = time.thread_time() - before
    client.raw_insert("events", NAMES, block, settings=settings, fmt=fmt)
    return python


def asked_ms(client: Any, sql: str, asks: tuple[str, str], known: str) -> float:
    """The median of five times."""
    text = sql.replace("{equals}", asks[0]).replace("{greater}", asks[1]).replace("{id}", known)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        client.raw_query(text, fmt="JSONCompactEachRow")
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def run(name: str, blocks: int, block_rows: int, directory: str) -> dict[str, float]:
    """One variant: inserts, waits for merges, asks each question five times."""
    variant, ddl = VARIANTS[name], DDL
    for old, new in variant.change:
        assert old in ddl, old
        ddl = ddl.replace(old, new)
    client = ChdbEngine(Path(directory) / "store").connect({})
    client.command(ddl.strip().rstrip(";"))
    if variant.words:
        client.command(f"ALTER TABLE events ADD INDEX {variant.words.removeprefix('INDEX ')}")
    started, making, python, count, slowest, known = cpu_s(), 0.0, 0.0, 0, 0.0, ""
    source = events(blocks, block_rows)
    while True:
        before = time.thread_time()
        lines = next(source, None)
        making += time.thread_time() - before
        if lines is None:
            break
        begin, before = time.perf_counter(), time.thread_time()
        piece = Slice("log-1", 0, 1, count, count + block_rows, range(count, count + block_rows), lines)
        made, _ = rows_of([piece], lambda part: rows(part, RULES), lambda: None)
        python += time.thread_time() - before
        known = made[block_rows // 2].id
        python += insert(client, made, variant.fmt, f"t{count}")
        slowest = max(slowest, time.perf_counter() - begin)
        count += block_rows
    inserted = cpu_s() - started - making - python
    while client.command("SELECT count() FROM system.merges"):
        time.sleep(0.2)
    merged = cpu_s() - started - making - python - inserted
    out = {
        "python us": python / count * 1e6,
        "engine us": inserted / count * 1e6,
        "merges us": merged / count * 1e6,
        "total us": (python + inserted + merged) / count * 1e6,
        "bytes": client.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE active").result_rows[0][0] / count,
        "parts": client.query("SELECT count() FROM system.parts WHERE active").result_rows[0][0],
        "RSS MB": int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6,
        "slowest insert ms": slowest * 1000,
    }
    out |= {label: asked_ms(client, sql, variant.asks, known) for label, sql in QUERIES.items()}
    client.close()
    return out


if __name__ == "__main__":
    compare(VARIANTS, run, __doc__, __file__, 50)
