"""Rows of a large batch, made in small bites, so that an event loop in the same process keeps its latency.

In: slices. Out: their rows and dead letters. Errors: none of its own. Next: parsec.process.ranges.
"""

from collections.abc import Callable, Sequence

from parsec.ports.broker import Slice
from parsec.ports.store import DeadLetter, Row
from parsec.process.backlog import split

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
    """A slice as slices of at most `records` records each."""
    parts: list[Slice] = []
    rest: Slice | None = piece
    while rest is not None and len(rest.values) > records:
        bite, rest = split(rest, rest.offsets[records])
        if bite is not None:
            parts.append(bite)
    return [*parts, rest] if rest is not None else parts
