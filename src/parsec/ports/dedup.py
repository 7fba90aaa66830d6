"""Deduplication: each (tenant, id) is claimed for the position of the first event that brought it.

Adapters: parsec.adapters.local.dedup (this process) and parsec.adapters.redis.dedup (shared).
Next: parsec.ports.store.

A claim decides nothing alone: keys are hashes, and the claim's owner may have died before its insert. An event whose id
another position has claimed is compared with what the store has at that position:

  the same tenant and id     a duplicate; also counted as a conflict if its content differs
  another tenant or id       two ids with one hash: the event is stored, without a claim
  a dead letter, or nothing  another owner may be about to insert it: the event waits, but not for ever; then the claim
                             is taken over (`take_over`) and the event stored
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec


class Position(NamedTuple):
    """The place of an event in a log."""

    log_id: str
    partition: int
    offset: int


class Window(msgspec.Struct, frozen=True):
    """A claim is kept for at least `seconds`, and none is dropped early while there are at most `ids`.

    Time is time of receipt, so that neither a backlog nor a stalled store shortens the window.
    """

    seconds: float
    ids: int


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Events of one partition, in columns of equal length. `moment_ns`: when the newest of them was received."""

    log_id: str
    partition: int
    moment_ns: int
    tenants: Sequence[str]
    ids: Sequence[str]
    offsets: Sequence[int]


class Dedup(Protocol):
    """Used by one thread, the processor's. A call blocks for about a second at most, and raises nothing but Fatal,
    after `close`. Events that could not be checked are counted and treated as new."""

    def claim(self, batch: Batch) -> Mapping[int, Position]:
        """Claims all ids that are free. Returns the offsets of those that another position has, with that position.

        Within a batch the first event of an id claims it. An event that finds its own claim, as in a replay, is not in
        the answer.
        """

    def take_over(self, batch: Batch, holders: Sequence[Position]) -> Mapping[int, Position]:
        """Claims each id that is free, or that `holders[i]` has; answers as `claim`.

        For holders that are not in the store.
        """

    def release(self, batch: Batch) -> None:
        """Releases those claims that these positions have, since their events became dead letters.

        It may fail silently: a dead letter that still has a claim is found by the next event that asks the store.
        """

    def wants_restore(self) -> bool:
        """Whether the ids in the store are to be claimed, oldest first, when a partition is assigned."""

    def effective_s(self) -> float:
        """Every claim of so many seconds is kept; less than the window while the set is young or full."""

    def close(self) -> None:
        """Safe to call twice."""
