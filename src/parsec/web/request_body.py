"""A request's body off the wire: inflated, bounded, and counted in the memory for bodies before it takes it.

In: the messages of ASGI. Out: the plain bytes. Errors: Rejected (too large, damaged); False when the memory for bodies
is used up. Next: parsec.web.routes.ingest.

1. No more is inflated than memory is reserved for, and other requests have a turn after each part of it.
2. Bodies that grow like a decompression bomb are read and answered one by one, so that however many come they hold
   little and leave the memory to the others. A request that waits for more of its body does not hold the turn.
"""

import asyncio
import ctypes
from contextlib import suppress
from io import BytesIO

from starlette.types import Receive

from parsec.ingest.admission import Admission
from parsec.ingest.body.inflate import PART_BYTES, inflater, too_large
from parsec.ingest.pipeline import Request

LARGE_BYTES = 1 << 20
_M_MMAP_THRESHOLD = -3  # of glibc's mallopt


def give_large_buffers_back() -> None:
    """Memory of a large body goes back to the system with the body, for the life of this process.

    Left alone, glibc learns from the first large body that is freed to keep the memory of those that follow.
    """
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


class Disconnected(Exception):
    """The client left before its body was complete. There is no one to answer."""


class RequestBodyReader:
    """One per process; used on the event loop."""

    def __init__(self, admission: Admission, max_body_bytes: int) -> None:
        self.max_body_bytes = max_body_bytes
        self._admission = admission
        self._turn = asyncio.Lock()  # for one body that grows like a bomb
        self._turn_of: Request | None = None

    async def read(self, request: Request, receive: Receive, encoding: str, length: int | None) -> bool:
        """Puts the inflated body into `request`. False: the memory for bodies is used up.

        Raises Rejected, Disconnected. Call `end_turn` when the request is answered.
        """
        inflate = inflater(encoding, self.max_body_bytes)
        if (length or 0) > self.max_body_bytes:  # compressed or not
            raise too_large(self.max_body_bytes)
        plain = BytesIO()  # unlike a bytearray it gives up its content as bytes without a copy of all of it
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            more = message.get("more_body", False)
            for part in inflate.feed(message.get("body", b"")):
                if not self._reserve(request, len(part)):
                    return False
                plain.write(part)
                if len(part) == PART_BYTES:  # there may be much more in so small a chunk
                    if inflate.swells() and self._turn_of is not request:
                        await self._turn.acquire()
                        self._turn_of = request
                    await asyncio.sleep(0)
            if more:
                self.end_turn(request)
        inflate.finish()
        request.body = plain.getvalue()
        return True

    def end_turn(self, request: Request) -> None:
        """Of a body that grew like a bomb; nothing for any other."""
        if self._turn_of is request:
            self._turn_of = None
            self._turn.release()

    def _reserve(self, request: Request, size_bytes: int) -> bool:
        tenant = request.key_tenant or request.default_tenant
        if not self._admission.reserve(tenant, request.held_bytes, size_bytes):
            return False
        request.held_bytes += size_bytes
        return True
