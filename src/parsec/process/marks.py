"""When the ledger's standing is worth keeping, so that it can be recounted after what was stored first has left.

In: where a partition stands, and the rows that are about to be stored. Out: a mark to keep before they are, or none.
Errors: none. Next: parsec.query.audit.

A mark says what the counts were, and promises a day before which nothing stored from there on leaves the store. A new
one is made when a reader begins, when a batch cannot keep the promise, and with the first batch of a day that promises
more: a few a day, however many events come.
"""

from collections.abc import Sequence
from operator import attrgetter

from parsec.core.moment import DAY
from parsec.ports.broker import Progress
from parsec.ports.store import Mark, Row

_EXPIRES_ON = attrgetter("expires_on")


class Marks:
    """Of one partition under one epoch. `letters_days`: how long dead letters stay."""

    def __init__(self, letters_days: int) -> None:
        self._letters_days = letters_days
        self._promised: int | None = None
        self._made_on = 0

    def before(
        self, progress: Progress, rows: Sequence[Row], now_ns: int, landed_leaves: int | None = None
    ) -> Mark | None:
        """What to keep before these rows, or dead letters instead of them, are stored at `progress.committed`.

        `landed_leaves`: when the first of what may be stored there already leaves, as was promised then.
        """
        today = now_ns // DAY
        letters = today + self._letters_days
        leaves = min(letters, min(map(_EXPIRES_ON, rows), default=letters))
        if landed_leaves is not None:
            leaves = min(leaves, landed_leaves)
        kept = self._promised is not None and leaves >= self._promised
        if kept and (leaves == self._promised or today <= self._made_on):
            return None
        self._promised, self._made_on = leaves, today
        counts = progress.counts
        return Mark(
            progress.log_id, progress.partition, progress.start, progress.committed,
            counts.stored, counts.duplicate, counts.dead, counts.lost, max(leaves, 0),
        )  # fmt: skip
