"""Rows of a large batch, made in small bites, so that an event loop in the same process keeps its latency.

In: slices. Out: their rows and dead letters. Errors: none of its own. Next: parsec.process.range_commit.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from parsec.ports.broker import Slice
from parsec.ports.store import DeadLetter, Row

MakeRows = Callable[[Slice], tuple[list[Row], list[DeadLetter]]]
"""A pure function: each record of the slice becomes one row or one dead letter, in order of offset."""

BITE_RECORDS = 250
"""About a millisecond of work."""


def rows_of(
    slices: Sequence[Slice], make_rows: MakeRows, breathe: Callable[[], None]
) -> tuple[list[Row], list[DeadLetter]]:
    """All rows and dead letters; after each bite `breathe` gives other threads their turn."""
    rows: list[Row] = []
    letters: list[DeadLetter] = []
    for piece in slices:
        for bite in bites(piece, BITE_RECORDS):
            made, dead = make_rows(bite)
            rows += made
            letters += dead
            breathe()
    return rows, letters


def bites(piece: Slice, records: int) -> list[Slice]:
    """A slice as slices of at most `records` records each; what was lost counts to the record before it."""
    offsets, replace = piece.offsets, msgspec.structs.replace
    starts = range(records, len(offsets), records)
    edges = [piece.first, *(offsets[at] for at in starts), piece.next_offset]
    return [
        replace(piece, first=first, next_offset=end, lost=end - first - len(offsets[at : at + records]),
                offsets=offsets[at : at + records], values=piece.values[at : at + records])
        for at, (first, end) in zip(range(0, max(len(offsets), 1), records), pairwise(edges), strict=True)
    ]  # fmt: skip


def let_go(rows: list[Row], breathe: Callable[[], None]) -> None:
    """Empties the list. A large one freed at once would hold the interpreter for ten times as long as a bite."""
    while rows:
        del rows[-BITE_RECORDS * 4 :]
        breathe()
