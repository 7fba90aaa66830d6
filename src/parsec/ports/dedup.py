"""Who holds an id: each (tenant, id) is claimed for the position of the first event that brought it.

Adapters: parsec.adapters.local.dedup (this process) and parsec.adapters.redis.dedup (shared).
Next: parsec.ports.store.

A claim decides nothing alone. An event whose id another position holds is a duplicate only once the store has shown
the row at that position: with the same tenant and id, for keys are hashes, and landed, for its owner may have died
between claim and insert. What the store shows instead decides:

  the same tenant and id     a duplicate; a conflict too, if the content differs
  another tenant or id       two ids with one hash: the event is stored, without a claim
  a dead letter, or nothing  nothing yet: it may be about to be inserted by another owner. Wait, but not for ever: after
                             that `take_over` the claim and store the event
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec


class Position(NamedTuple):
    """Where in which log an event stands."""

    log_id: str
    partition: int
    offset: int


class Window(msgspec.Struct, frozen=True):
    """How long a claim is held at least, and how many ids are held at least before any is forgotten early.

    Time is the time of receipt, so neither a backlog nor a stalled store shortens the window.
    """

    seconds: float
    ids: int


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Events of one partition, by columns of equal length. `moment_ns`: when the newest of them was received."""

    log_id: str
    partition: int
    moment_ns: int
    tenants: Sequence[str]
    ids: Sequence[str]
    offsets: Sequence[int]


class Dedup(Protocol):
    """Called from one thread, the processor's. Raises nothing but Fatal, after `close`.

    What cannot be checked is counted and let through; no call takes more than about a second, whatever the other side
    does.
    """

    def claim(self, batch: Batch) -> Mapping[int, Position]:
        """Claims each id that nobody holds. Offsets of the batch whose id another position holds, and that position.

        Within a batch the first one of an id claims it. An event that finds its own claim, as in a replay, is not in
        the answer, nor is one that could not be checked.
        """

    def take_over(self, batch: Batch, holders: Sequence[Position]) -> Mapping[int, Position]:
        """Claims each id for the batch's position if `holders[i]` or nobody holds it; the answer is as in `claim`.

        For holders that turned out not to be in the store.
        """

    def release(self, batch: Batch) -> None:
        """Gives up those claims that these positions hold: their events did not become rows.

        May fail unheard; a dead letter that still holds its claim is found by whoever asks the store for it.
        """

    def wants_restore(self) -> bool:
        """Asked when a partition is assigned. True: claim what the store has of it within the window, oldest first."""

    def effective_s(self) -> float:
        """For how many seconds back every claim is held; less than the window while the set is young or too small."""

    def close(self) -> None:
        """Safe to call twice."""
