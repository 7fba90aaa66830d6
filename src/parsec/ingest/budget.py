"""One budget of bytes for all request bodies in flight, so that memory is bounded under any load.

In: reservations by the web layer before bytes are kept. Out: yes or no, at once.
"""


class ByteBudget:
    """Used by the event loop's thread only."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used_bytes = 0

    def reserve(self, body_bytes: int) -> bool:
        """Takes body_bytes from the budget; False (and nothing taken) when that would exceed it."""
        if self.used_bytes + body_bytes > self.max_bytes:
            return False
        self.used_bytes += body_bytes
        return True

    def release(self, body_bytes: int) -> None:
        """Gives back what was reserved."""
        self.used_bytes -= body_bytes
