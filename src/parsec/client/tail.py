"""The stream of `GET /query/tail` (server-sent events) across connections; no socket.

In: pieces of the stream. Out: each event as the JSON bytes that came, and a Gap wherever events are missing. Errors:
Rejected(not_parsec) when it is no such stream, Retryable when it is given up. Next: parsec.client.client.
"""

from collections.abc import Iterator

import msgspec

from parsec.api.query import TailGap
from parsec.client.retries import Attempts, RetryPolicy
from parsec.core.errors import Rejected, Retryable

MAX_MESSAGE_BYTES = 16 << 20
ENDED = "the server ended the stream"


class Gap(TailGap, frozen=True):
    """Events are missing here. `skipped`: the number of matching events that a slow reader missed. `unchecked`: the
    number of the tenant's events that the server did not check. `away`: the connection was lost, the number is unknown.
    """

    away: bool = False


class Tail:
    """One tail across all its connections.

    Until the first one succeeds, a failure is raised at once, as for a query; later ones are retried until
    `give_up_after_s` have passed without a connection.
    """

    def __init__(self, retry: RetryPolicy, give_up_after_s: float) -> None:
        self._attempts = Attempts(retry, give_up_after_s)
        self._opened = False
        self._stream = EventStream()

    def open(self) -> list[Gap]:
        """A stream begins. Gives the gap since the stream before it."""
        gaps = [Gap(away=True)] if self._opened else []
        self._opened = True
        self._stream = EventStream()
        self._attempts.begin()
        return gaps

    def feed(self, piece: bytes) -> Iterator[msgspec.Raw | Gap]:
        """The events and gaps that this piece of the stream completes."""
        return self._stream.feed(piece)

    def wait_s(self, error: Retryable) -> float:
        """Seconds to wait before the next connection. Raises Retryable."""
        if not self._opened:
            raise error
        return self._attempts.wait_s(error)


class EventStream:
    """Parses server-sent events. Skips comments, which are heartbeats, and messages of other types."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._type = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[msgspec.Raw | Gap]:
        self._rest += piece
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            found = self._line(bytes(line.removesuffix(b"\r")))
            if found is not None:
                yield found
        if len(self._rest) + self._size > MAX_MESSAGE_BYTES:
            size = f"more than {MAX_MESSAGE_BYTES >> 20} MiB"
            raise Rejected("not_parsec", f"the stream is not from Parsec, check the URL: a message of {size}")

    def _line(self, line: bytes) -> msgspec.Raw | Gap | None:
        if not line:
            type_, data = self._type, b"\n".join(self._data)
            self._type, self._data, self._size = b"", [], 0
            return _message(type_, data) if data else None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._type = value
        elif name == b"data":
            self._data.append(value)
            self._size += len(value)
        return None


def _message(type_: bytes, data: bytes) -> msgspec.Raw | Gap | None:
    try:
        if type_ in (b"", b"message"):
            return msgspec.json.decode(data, type=msgspec.Raw)
        return msgspec.json.decode(data, type=Gap) if type_ == b"gap" else None
    except msgspec.DecodeError as error:
        raise Rejected("not_parsec", f"the stream is not from Parsec, check the URL: {error}") from error
