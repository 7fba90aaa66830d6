"""Put a process together: settings in, running parts out. The only reader of settings and importer of adapters.

One module per side (log, processor, query, ingest, web): a function takes settings and the `Runtime` and returns the
side's parts in a frozen struct. `parsec.wiring.serve` opens the sides; this table says in which order parts start.
Next: parsec.wiring.serve.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from parsec.service import Part


class Step(NamedTuple):
    """A kind of part: its name, the parts that must run before it, and its work."""

    name: str
    needs: tuple[str, ...]
    work: str


START_ORDER = (
    Step("log", (), "append and read events: segment files, or Kafka clients"),
    Step("log-check", ("log",), "probe whether the log can be written"),
    Step("spool-check", ("log",), "the same for the spool"),
    Step("kafka-monitor", ("log",), "query Kafka for offsets and health"),
    Step("spool-drain", ("log", "kafka-monitor"), "send spooled events to Kafka"),
    Step("store", (), "insert and select rows: the embedded engine, or a ClickHouse server"),
    Step("store-sync", ("store",), "fsync the parts that the embedded engine wrote"),
    Step("store-scrub", ("store",), "check the parts of the embedded engine, detach damaged ones"),
    Step("store-size", ("store",), "drop the oldest days beyond PARSEC_STORE_MAX_BYTES"),
    Step("store-backfill", ("store",), "rewrite the events that an earlier version stored"),
    Step("claims", ("store",), "recognise repeated ids, here or in Redis"),
    Step("processor", ("log", "store", "claims"), "move events from the log to the store"),
    Step("store-comparison", ("processor",), "compare the store with the ledger, have lost events stored again"),
    Step("queries", ("store",), "run queries in threads"),
    Step("tail-poller", ("queries",), "query the store for new events that match tails"),
    Step("watermark", ("log", "processor"), "determine up to when stored events are complete"),
    Step("rate-leases", (), "lease shared rate limits from Redis"),
    Step("tenant-limits", (), "reload tenant limits when the settings file changes"),
    Step("worker", ("log",), "publish batches from the channel to the log; several with Kafka"),
    Step("acks", ("worker",), "time out requests without an acknowledgement"),
    Step("data-dir", ("log", "store"), "notice that the data directory was moved or deleted"),
    Step("keys", (), "reload API keys when their file changes"),
    Step("keyless", (), "age the senders that use no API key"),
    Step("certificate", (), "reload the TLS certificate when its files change"),
    Step("http", ("acks", "queries", "keys", "certificate"), "accept connections and answer requests"),
    Step("url-file", ("http",), "tell commands where this process listens"),
    Step("tails", ("http",), "end open tails, so that the HTTP server can stop"),
    Step("connections", ("http",), "end idle and slow connections"),
    Step("stats", ("http",), "log the stats line"),
)
"""Parts start from top to bottom and stop from bottom to top; a process has only those that its settings ask for."""

_PLACES = {step.name: place for place, step in enumerate(START_ORDER)}


def in_start_order(parts: Iterable[Part]) -> list[Part]:
    """Sort parts by START_ORDER; the numbers of `worker-1`, `worker-2` do not count. KeyError for an unknown name."""
    return sorted(parts, key=lambda part: _PLACES[re.sub(r"-\d+$", "", part.name)])
