"""Checkpoints of the ledger, from which it can be recounted after the first rows have left the store.

In: the progress of a partition, and the rows about to be stored. Out: a checkpoint to save before that, or None.
Errors: none. Next: parsec.query.audit.

A checkpoint holds the counts, and two bounds for all that is stored from there on: the first day on which a row may
expire, and the first day on which one was received, since PARSEC_STORE_MAX_BYTES drops the oldest days of receipt. One
is made when a reader begins, when a batch exceeds one of the bounds, and with the first batch of a day whose rows were
all received after the bound: a few a day, whatever the load.
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
    """Of one partition under one epoch. `dead_letter_days`: how long dead letters are kept."""

    def __init__(self, dead_letter_days: int) -> None:
        self._dead_letter_days = dead_letter_days
        self._bound: ExpiryBound | None = None
        self._made_on = 0

    def before(
        self, progress: Progress, rows: Sequence[Row], now_ns: int, landed: ExpiryBound | None = None
    ) -> LedgerCheckpoint | None:
        """The checkpoint to save before these rows, or dead letters instead, are stored at `progress.committed`.

        `landed`: the bound of earlier checkpoints, where some of the batch may be in the store already.
        """
        today = now_ns // DAY
        dead_letters_expire = today + self._dead_letter_days
        expires = min(dead_letters_expire, min(map(_EXPIRES_ON, rows), default=dead_letters_expire))
        received = min(now_ns - _CLOCKS_NS, min(map(_RECEIVED_AT, rows), default=now_ns)) // DAY
        if landed is not None:
            expires, received = min(expires, landed.expires_from), min(received, landed.received_from)
        expires, received = max(expires, 0), max(received, 0)
        bound = self._bound
        holds = bound is not None and expires >= bound.expires_from and received >= bound.received_from
        if bound is not None and holds and (received == bound.received_from or today <= self._made_on):
            return None
        self._bound, self._made_on = ExpiryBound(expires, received), today
        counts = progress.counts
        return LedgerCheckpoint(
            progress.log_id, progress.partition, progress.start, progress.committed,
            counts.stored, counts.duplicate, counts.dead, counts.lost, expires, received,
        )  # fmt: skip
