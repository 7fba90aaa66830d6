"""What a body is cut into, and how much may be in it.

In: items as they are found. Out: pieces, each with its place in the body. Errors: Rejected(too_many_events).
Next: parsec.ingest.normalize.
"""

from collections.abc import Iterator, Sequence

import msgspec

from parsec.core.errors import Rejected
from parsec.ingest.body.fast_path import Item

SLICE_BYTES = 128 << 10
"""About a millisecond of work."""

CAREFUL_BYTES = 32 << 10
"""About as much, event by event."""


class Chunk(msgspec.Struct, frozen=True):
    """Consecutive items; `first_index` counts from the start of the body, `size_bytes` is what they took in it."""

    first_index: int
    items: list[Item]
    size_bytes: int


class Tally:
    """What was found in a body so far: `taken` counts the items that are in pieces.

    `empty` counts the values that held no event: they cost time as events do, and no more of them may be.
    """

    def __init__(self, max_events: int, taken: int = 0, empty: int = 0) -> None:
        self.max_events = max_events
        self.taken = taken
        self.empty = empty

    def check(self, items: Sequence[Item]) -> None:
        """Asked while items are collected, so that a flood of tiny ones never becomes a long list."""
        if self.taken + len(items) > self.max_events or self.empty > self.max_events:
            message = f"The body holds more than {self.max_events} events or empty arrays; send several requests."
            raise Rejected("too_many_events", message, status=413)

    def piece(self, items: list[Item], size_bytes: int) -> Iterator[Chunk]:
        """One piece, or none without items."""
        self.check(items)
        if items:
            first = self.taken
            self.taken += len(items)
            yield Chunk(first, items, size_bytes)

    def ahead(self, items: Sequence[Item]) -> "Tally":
        """For what stands inside of a line or value: as if the items before it were in a piece."""
        return Tally(self.max_events, self.taken + len(items), self.empty)
