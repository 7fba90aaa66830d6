"""Rows that the processor has just stored, to the readers who wait for such events.

In: rows, from the processor's thread. Out: each event as JSON, as GET /query/events shows it, to every tail whose
question it matches. Errors: none; rows for which there is no time are counted at the tails. Next:
parsec.query.tail.match.

Invariants, cited by tests
 1. `offer` only looks and appends: while nobody tails it costs a comparison, and never waits for this thread.
 2. Rows that wait to be compared are bounded in bytes.
 3. Comparing takes a fixed share of the interpreter's time at most, however much there is to compare.
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Sequence

import msgspec

from parsec.core.timestamp import text_of
from parsec.ports.store import Row
from parsec.query.tail.match import Predicate, Subject, predicate
from parsec.query.tail.subscriptions import Subscription, Subscriptions, Watch, Watched

WAITING_BYTES = 32 << 20
BITE_ROWS = 100
SHARE = 0.25
"""Of the time of one thread: ingest and the processor share the interpreter with us."""
_IDLE_S = 0.5


class _Event(msgspec.Struct, frozen=True, gc=False):
    """An event as parsec.query.sql.projection shows it when nothing is chosen."""

    id: str
    tenant_id: str
    timestamp: str
    severity: str
    source: str
    message: str
    metadata: msgspec.Raw
    received_at: str


class _Offered(msgspec.Struct, frozen=True):
    """Rows, and who was there when they were stored."""

    watched: Watched
    rows: Sequence[Row]
    size: int


_ENCODER = msgspec.json.Encoder()


class Live:
    """`offer` from the processor's thread, `run` in one of its own."""

    def __init__(self, tails: Subscriptions) -> None:
        self._tails = tails
        self._offered: queue.SimpleQueue[_Offered] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0
        self._predicates: dict[str, Predicate] = {}

    def offer(self, rows: Sequence[Row]) -> None:
        """Rows that are stored now."""
        watched = self._tails.watched
        if not watched:
            return
        wanted = [row for row in rows if row.tenant_id in watched]
        if not wanted:
            return
        size = sum(len(row.message) + len(row.metadata) for row in wanted)
        with self._lock:
            room = not self._bytes or self._bytes + size <= WAITING_BYTES
            if room:
                self._bytes += size
        if room:
            self._offered.put(_Offered(watched, wanted, size))
            return
        for tenant, count in Counter(row.tenant_id for row in wanted).items():
            for tail in _tails_of(watched[tenant]):
                tail.miss(count)

    def run(self, stop: threading.Event) -> None:
        """Compares until `stop`."""
        while not stop.is_set():
            try:
                offered = self._offered.get(timeout=_IDLE_S)
            except queue.Empty:
                continue
            self._compare(offered, stop)
            with self._lock:
                self._bytes -= offered.size

    def _compare(self, offered: _Offered, stop: threading.Event) -> None:
        questions = {watch.question for watches in offered.watched.values() for watch in watches}
        self._predicates = {text: made for text, made in self._predicates.items() if text in questions}
        for first in range(0, len(offered.rows), BITE_ROWS):
            began = time.thread_time()  # not what it takes to get the interpreter back
            for tenant, rows in _by_tenant(offered.rows[first : first + BITE_ROWS]).items():
                subjects = [(Subject(row), row) for row in rows]
                encoded: dict[int, bytes] = {}
                for watch in offered.watched[tenant]:
                    self._tell(watch, subjects, encoded)
            if stop.wait((time.thread_time() - began) * (1 / SHARE - 1)):
                return

    def _tell(self, watch: Watch, subjects: Sequence[tuple[Subject, Row]], encoded: dict[int, bytes]) -> None:
        holds = self._predicates.get(watch.question)
        if holds is None:
            holds = self._predicates[watch.question] = predicate(watch.node)
        found = [row for subject, row in subjects if holds(subject)]
        if not found:
            return
        for row in found:
            if id(row) not in encoded:
                encoded[id(row)] = message_of(row)
        messages = [encoded[id(row)] for row in found]
        for tail in watch.tails:
            tail.put(messages)


def message_of(row: Row) -> bytes:
    """A row as the JSON of an event."""
    return _ENCODER.encode(
        _Event(
            row.id,
            row.tenant_id,
            text_of(row.timestamp),
            row.severity,
            row.source,
            row.message,
            msgspec.Raw(row.metadata.encode()),
            text_of(row.received_at),
        )
    )


def _by_tenant(rows: Sequence[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.tenant_id, []).append(row)
    return grouped


def _tails_of(watches: Sequence[Watch]) -> list[Subscription]:
    return [tail for watch in watches for tail in watch.tails]
