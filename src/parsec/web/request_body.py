"""A request's body off the wire: inflated, bounded, and in the budget before it takes memory.

In: the messages of ASGI. Out: the plain bytes. Errors: Rejected (too large, damaged); None when the budget is used up.
Next: parsec.web.routes.ingest.

1. No more is inflated than there is a place for in the budget, and others have a turn after each part of it.
2. Bodies that swell as bombs do are read and answered one by one, so that however many come they hold little and the
   rest of the budget stays with the others. Nobody holds the turn who waits for more of the body.
"""

import asyncio
import ctypes
from contextlib import suppress
from io import BytesIO

from starlette.types import Receive

from parsec.core.errors import Rejected
from parsec.ingest.body.inflate import PART_BYTES, Inflater, inflater
from parsec.ingest.budget import ByteBudget

LARGE_BYTES = 1 << 20
_M_MMAP_THRESHOLD = -3  # of glibc's mallopt


def give_large_buffers_back() -> None:
    """Memory of a large body goes back to the system with the body, for the life of this process.

    Left alone, glibc learns from the first large body that is freed to keep the memory of those that follow.
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


class Disconnected(Exception):
    """The client left before its body was complete; nobody is there to answer."""


class Reservation:
    """One request's share of the budget; grows as bytes arrive. With it goes the turn of those that swell."""

    __slots__ = ("_budget", "_bytes", "_turn", "tenant")

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._bytes = 0
        self._turn: asyncio.Lock | None = None
        self.tenant = ""

    def grow_to(self, size: int) -> bool:
        if size <= self._bytes:
            return True
        if not self._budget.reserve(size - self._bytes, self.tenant, self._bytes):
            return False
        self._bytes = size
        return True

    async def wait_for(self, turn: asyncio.Lock) -> None:
        """Returns when it is this request's turn, which it is until `yield_turn` or `release`."""
        if self._turn is None:
            await turn.acquire()
            self._turn = turn

    def yield_turn(self) -> None:
        if self._turn is not None:
            self._turn.release()
            self._turn = None

    def release(self) -> None:
        self.yield_turn()
        if self._bytes:
            self._budget.release(self._bytes, self.tenant)
            self._bytes = 0


class _Body:
    """What has come so far of one body."""

    def __init__(self, inflate: Inflater, held: Reservation) -> None:
        self.inflate = inflate
        self.held = held
        self._bytes = 0
        self._plain = BytesIO()  # unlike a bytearray it gives up what it holds as bytes without copying all of it

    def add(self, part: bytes) -> bool:
        """False: there is no place for it."""
        if not self.held.grow_to(self._bytes + len(part)):
            return False
        self._bytes += self._plain.write(part)
        return True

    def whole(self) -> bytes:
        self.inflate.finish()
        return self._plain.getvalue()


class RequestBodyReader:
    """Those of one process; on the event loop."""

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._turn = asyncio.Lock()

    async def read(self, receive: Receive, encoding: str, length: int | None, held: Reservation) -> bytes | None:
        """The inflated body. None: the budget for bodies in flight is used up. Raises Rejected, Disconnected."""
        body = _Body(inflater(encoding, self._max_body_bytes), held)
        if (length or 0) > self._max_body_bytes:  # compressed or not
            raise too_large(self._max_body_bytes)
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            more = message.get("more_body", False)
            if not await self._take(body, message.get("body", b"")):
                return None
            if more:
                held.yield_turn()
        return body.whole()

    async def _take(self, body: _Body, chunk: bytes) -> bool:
        for part in body.inflate.feed(chunk):
            if not body.add(part):
                return False
            if len(part) == PART_BYTES:  # there may be much more in so small a chunk
                if body.inflate.swells():
                    await body.held.wait_for(self._turn)
                await asyncio.sleep(0)
        return True


def too_large(limit: int) -> Rejected:
    """Of a body, before it is read as well as while it inflates."""
    message = f"The body is larger than {limit} bytes, before or after decompression. Send less at once."
    return Rejected("payload_too_large", message, status=413)
