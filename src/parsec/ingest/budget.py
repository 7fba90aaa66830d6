"""One budget of bytes for all request bodies in flight, so that memory is bounded under any load.

In: reservations by the web layer before bytes are kept. Out: yes or no, at once.
"""

from parsec.ingest.in_flight import InFlight

LITTLE, BEYOND = 16, 4
"""A tenant that holds less than a 16th of the budget may go beyond it, by up to a quarter."""

SMALL_BYTES = 64 << 10
"""A body of so much may go beyond, too, where nothing around it says whose it is: it takes many to fill the memory."""


class ByteBudget:
    """Used by the event loop's thread only. The tenant is the one that a request names around its body, or ''."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self._held = InFlight(1, max(1, max_bytes // LITTLE))

    def reserve(self, body_bytes: int, tenant: str = "", held_bytes: int = 0) -> bool:
        """Takes body_bytes from the budget; False (and nothing taken) when that would exceed it.

        `held_bytes`: what the same body holds already.
        """
        used_bytes = self.used_bytes + body_bytes
        if used_bytes > self.max_bytes:
            little = self._held.is_little(tenant) if tenant else held_bytes + body_bytes <= SMALL_BYTES
            if not little or used_bytes > self.max_bytes + self.max_bytes // BEYOND:
                return False
        self.used_bytes = used_bytes
        self._held.add(tenant, 0, body_bytes)
        return True

    def release(self, body_bytes: int, tenant: str = "") -> None:
        """Gives back what was reserved."""
        self.used_bytes -= body_bytes
        self._held.remove(tenant, 0, body_bytes)
