"""What each tenant has on its way, so that one that sends without end leaves room to the others.

In: what is taken in and what is done with, by tenant. Out: whether a tenant holds little. Errors: none.
Next: parsec.ingest.channel.

What fits is for whoever comes first; a part beyond is for those that hold little, so a flood fills the first only. That
is simpler than equal parts, which would have to be taken back from whoever was there alone; a lone tenant has it all.
"""


class InFlight:
    """Used by the event loop's thread only. Knows nothing of a tenant that has nothing on its way."""

    def __init__(self, little_events: int, little_bytes: int) -> None:
        """Who has less than that of both holds little."""
        self._little_events = little_events
        self._little_bytes = little_bytes
        self._amounts: dict[str, tuple[int, int]] = {}

    def add(self, tenant: str, events: int, size_bytes: int) -> None:
        held_events, held_bytes = self._amounts.get(tenant, (0, 0))
        self._amounts[tenant] = held_events + events, held_bytes + size_bytes

    def remove(self, tenant: str, events: int, size_bytes: int) -> None:
        """Of what was added."""
        held_events, held_bytes = self._amounts[tenant]
        if held_events == events and held_bytes == size_bytes:
            del self._amounts[tenant]
        else:
            self._amounts[tenant] = held_events - events, held_bytes - size_bytes

    def is_little(self, tenant: str) -> bool:
        events, size_bytes = self._amounts.get(tenant, (0, 0))
        return events < self._little_events and size_bytes < self._little_bytes
