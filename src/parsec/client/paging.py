"""Following cursors up to a number of things or to the end, without a socket.

In: each page's cursor and how much it held. Out: what to ask for next.
"""

PAGE_EVENTS = 1_000
"""Asked for at once: a page is held in memory, and each event may be 256 KiB."""


class Paging:
    """`limit` None: to the end. `cursor`: go on from there."""

    def __init__(self, limit: int | None, cursor: str | None = None) -> None:
        self._left = limit
        self.cursor = cursor
        self.more = limit is None or limit > 0

    @property
    def size(self) -> int:
        """How many to ask for."""
        return PAGE_EVENTS if self._left is None else min(self._left, PAGE_EVENTS)

    def took(self, count: int, cursor: str | None) -> None:
        """A page came."""
        self.cursor = cursor
        self._left = None if self._left is None else self._left - count
        self.more = cursor is not None and self._left != 0
