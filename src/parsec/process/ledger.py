"""When the ledger's standing is worth keeping, so that it can be recounted after what was stored first has left.

In: where a partition stands, and the rows that are about to be stored. Out: a mark to keep before they are, or none.
Errors: none. Next: parsec.query.audit.

A mark says what the counts were, and promises a day before which nothing stored from there on leaves the store by age,
and one before which nothing of it came in, since by size the oldest days leave. A new one is made when a reader begins,
when a batch cannot keep the promise, and with the first batch of a day of which nothing came in on an earlier day than
was promised: a few a day, however many events come.
"""

from collections.abc import Sequence
from operator import attrgetter

from parsec.core.timestamp import DAY, SECOND
from parsec.ports.broker import Progress
from parsec.ports.store import ExpiryBound, LedgerCheckpoint, Row

_EXPIRES_ON = attrgetter("expires_on")
_RECEIVED_AT = attrgetter("received_at")
_CLOCKS_NS = 600 * SECOND
"""How far the clock of a store, which dates dead letters, may be behind ours."""


class LedgerCheckpoints:
    """Of one partition under one epoch. `letters_days`: how long dead letters stay."""

    def __init__(self, letters_days: int) -> None:
        self._letters_days = letters_days
        self._promised: ExpiryBound | None = None
        self._made_on = 0

    def before(
        self, progress: Progress, rows: Sequence[Row], now_ns: int, landed: ExpiryBound | None = None
    ) -> LedgerCheckpoint | None:
        """What to keep before these rows, or dead letters instead of them, are stored at `progress.committed`.

        `landed`: what was promised of what may be stored there already.
        """
        today = now_ns // DAY
        letters = today + self._letters_days
        leaves = min(letters, min(map(_EXPIRES_ON, rows), default=letters))
        received = min(now_ns - _CLOCKS_NS, min(map(_RECEIVED_AT, rows), default=now_ns)) // DAY
        if landed is not None:
            leaves, received = min(leaves, landed.expires_from), min(received, landed.received_from)
        now = ExpiryBound(max(leaves, 0), max(received, 0))
        kept = self._kept_by(now)
        if kept is not None and (now.received_from == kept.received_from or today <= self._made_on):
            return None
        self._promised, self._made_on = now, today
        counts = progress.counts
        return LedgerCheckpoint(
            progress.log_id, progress.partition, progress.start, progress.committed,
            counts.stored, counts.duplicate, counts.dead, counts.lost, now.expires_from, now.received_from,
        )  # fmt: skip

    def _kept_by(self, now: ExpiryBound) -> ExpiryBound | None:
        """The promise in force, unless this breaks it."""
        then = self._promised
        if then is None or now.expires_from < then.expires_from or now.received_from < then.received_from:
            return None
        return then
