"""Drains the spool into Kafka, beside new events and at a limited rate.

In: records of the spool, oldest first. Out: messages with the header `maybe-duplicate`; records that Kafka acknowledged
leave the spool. Errors: none; while Kafka does not acknowledge, the same records are tried again, and the first success
shows all writers that Kafka is available. Next: parsec.process.loop.

Every record has the header, since its first attempt, or that of a drain that was killed, may have arrived.
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
IDLE_S, RETRY_S = 0.1, 1.0


class _Key(msgspec.Struct, frozen=True, gc=False):
    tenant_id: str


_KEY = msgspec.json.Decoder(_Key)


class Drain:
    """One thread, one writer of its own, which it closes at its end. `rate`: events per second."""

    def __init__(
        self, spool: Spool, writer: KafkaWriter, breaker: CircuitBreaker, telemetry: Telemetry, clock: Clock,
        rate: float = EVENTS_PER_S,
    ) -> None:  # fmt: skip
        self._spool = spool
        self._writer = writer
        self._breaker = breaker
        self._rate = rate
        self._telemetry = telemetry
        self._clock = clock
        self._unsent: tuple[SpoolReader, Slice, list[Record], int] | None = None
        self._adopt_at = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """The thread's body, until `stop`. Records that are left stay in the spool."""
        while not stop.wait(self.step()):
            pass
        self._writer.close()

    def step(self) -> float:
        """Sends one slice, if there is one and Kafka may be tried. Returns the seconds until the next call."""
        now = self._clock.monotonic()
        try:
            if now >= self._adopt_at:
                self._adopt_at = now + ADOPT_EVERY_S
                self._spool.adopt()
            self._telemetry.spool_waiting.set(self._spool.waiting)
            self._spool.note_position()
            if self._breaker.open_reason() is not None:
                return IDLE_S
            taken = self._unsent or self._take()
            return IDLE_S if taken is None else self._send(*taken)
        except (Retryable, OSError) as error:
            _log.warning("The spool could not be sent to Kafka. This will be retried.", why=str(error))
            return RETRY_S

    def _take(self) -> tuple[SpoolReader, Slice, list[Record], int] | None:
        spool = self._spool.oldest()
        taken = spool.poll(max(1, min(MOST_EVENTS, int(self._rate / 10))), MOST_BYTES) if spool else None
        if spool is None or taken is None:
            return None
        if taken.lost:
            _log.error("Events in the spool were lost before they reached Kafka.", events=taken.lost,
                       spool=str(spool.directory))  # fmt: skip
        return spool, taken, [Record(_KEY.decode(value).tenant_id, value, True) for value in taken.values], 0

    def _send(self, spool: SpoolReader, taken: Slice, records: list[Record], refused: int) -> float:
        """Sends the records of a slice, and commits it once Kafka has all of them but the refused ones."""
        not_acknowledged: list[Record] = []
        unsent: list[Record] = []
        try:
            self._writer.send(records)
        except NotAcknowledged as error:
            not_acknowledged = list(error.records)
            refused += self._keep_refused(spool, [record.value for record in error.refused], str(error))
            unsent = [record for record in not_acknowledged if record not in error.refused]
        acknowledged = len(records) - len(not_acknowledged)
        self._unsent = (spool, taken, unsent, refused) if unsent else None
        if acknowledged:
            size = sum(len(r.value) + 1 for r in records) - sum(len(r.value) + 1 for r in not_acknowledged)
            self._telemetry.published.inc(acknowledged)
            self._telemetry.published_bytes.inc(size)
            self._telemetry.spool_drained.inc(acknowledged)
        if not unsent:
            spool.commit(taken, refused)
        return acknowledged / self._rate

    def _keep_refused(self, spool: SpoolReader, values: list[bytes], why: str) -> int:
        if values:
            path = spool.keep_refused(values)
            self._telemetry.spool_refused.inc(len(values))
            _log.error("Kafka permanently refuses events of the spool. They are kept in a file.",
                       events=len(values), file=str(path), why=why)  # fmt: skip
        return len(values)
