"""The spool into Kafka, beside new events and no faster than it is told.

In: records of the spool, oldest first. Out: messages with the header `maybe-duplicate`; what Kafka acknowledged leaves
the spool. Errors: none that end it; while Kafka does not acknowledge, the same records are tried again. Its attempts
are what tells everybody else that Kafka is back. Next: parsec.process.loop.

Every record carries the header: its first attempt may have arrived, and so may one of a drain that was killed.
"""

import threading

import msgspec
import structlog

from parsec.adapters.kafka.monitor import CircuitBreaker
from parsec.adapters.kafka.producer import Record
from parsec.adapters.kafka.writer import KafkaWriter, NotAcknowledged
from parsec.adapters.spool.spool import Spool, SpoolReader
from parsec.core.clock import Clock
from parsec.core.errors import Retryable
from parsec.ports.broker import Slice
from parsec.telemetry import Telemetry

_log = structlog.get_logger(__name__)

EVENTS_PER_S = 20_000.0
"""A spool of 8 GiB is empty within half an hour, and new events keep most of the cluster's throughput."""
MOST_EVENTS, MOST_BYTES = 1000, 1 << 20
ADOPT_EVERY_S = 30.0
IDLE_S, AGAIN_S = 0.1, 1.0


class _Key(msgspec.Struct, frozen=True, gc=False):
    tenant_id: str


_KEY = msgspec.json.Decoder(_Key)


class Drain:
    """One thread, one writer of its own."""

    def __init__(
        self,
        spool: Spool,
        writer: KafkaWriter,
        breaker: CircuitBreaker,
        telemetry: Telemetry,
        clock: Clock,
        rate: float = EVENTS_PER_S,
    ) -> None:
        """`rate`: events per second. Closes the writer at its end."""
        self._spool = spool
        self._writer = writer
        self._breaker = breaker
        self._rate = rate
        self._telemetry = telemetry
        self._clock = clock
        self._in_hand: tuple[SpoolReader, Slice, list[Record], int] | None = None
        self._adopt_at = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """Until `stop`; what is left stays in the spool."""
        while not stop.wait(self.step()):
            pass
        self._writer.close()

    def step(self) -> float:
        """One piece, if there is one and its time has come. Seconds until the next call makes sense."""
        now = self._clock.monotonic()
        try:
            if now >= self._adopt_at:
                self._adopt_at = now + ADOPT_EVERY_S
                self._spool.adopt()
            self._telemetry.spool_waiting.set(self._spool.waiting)
            if self._breaker.open_reason() is not None:
                return IDLE_S
            taken = self._in_hand or self._take()
            return IDLE_S if taken is None else self._send(*taken)
        except (Retryable, OSError) as error:
            _log.warning("The spool cannot be drained now and is tried again.", why=str(error))
            return AGAIN_S

    def _take(self) -> tuple[SpoolReader, Slice, list[Record], int] | None:
        source = self._spool.oldest()
        if source is None:
            return None
        piece = source.take(max(1, min(MOST_EVENTS, int(self._rate / 10))), MOST_BYTES)
        if piece is None:
            return None
        if piece.lost:
            _log.error("Events were lost in the spool before Kafka had them.", events=piece.lost,
                       spool=str(source.directory))  # fmt: skip
        return source, piece, [Record(_KEY.decode(value).tenant_id, value, True) for value in piece.values], 0

    def _send(self, source: SpoolReader, piece: Slice, records: list[Record], refused: int) -> float:
        """Gives the piece to Kafka, and lets it leave the spool once Kafka has all of it."""
        left: list[Record] = []
        not_there: list[Record] = []
        try:
            self._writer.send(records)
        except NotAcknowledged as error:
            not_there = list(error.records)
            refused += self._set_aside(source, [record.value for record in error.refused], str(error))
            left = [record for record in not_there if record not in error.refused]
        acknowledged = len(records) - len(not_there)
        self._in_hand = (source, piece, left, refused) if left else None
        if acknowledged:
            size = sum(len(r.value) + 1 for r in records) - sum(len(r.value) + 1 for r in not_there)
            self._telemetry.published.inc(acknowledged)
            self._telemetry.published_bytes.inc(size)
            self._telemetry.spool_drained.inc(acknowledged)
        if not left:
            source.done(piece, refused)
        return acknowledged / self._rate

    def _set_aside(self, source: SpoolReader, values: list[bytes], why: str) -> int:
        if values:
            path = source.keep_refused(values)
            self._telemetry.spool_refused.inc(len(values))
            _log.error("Kafka never takes these events of the spool; they are kept in a file.",
                       events=len(values), file=str(path), why=why)  # fmt: skip
        return len(values)
