"""The bytes of `GET /query/tail` (server-sent events) to events and gaps, and what to do when they stop; no socket.

In: pieces of the stream. Out: each event as the JSON bytes that came, and a Gap wherever some were left out. Errors:
Rejected(not_parsec) for what is no such stream, Retryable when it was given up.
"""

from collections.abc import Iterator

import msgspec

from parsec.client.retries import Attempts, RetryPolicy
from parsec.core.errors import Rejected, Retryable

MOST_MESSAGE_BYTES = 16 << 20
ENDED = "the server ended the stream"


class Gap(msgspec.Struct, frozen=True):
    """Events are missing here. `skipped`: so many that match, since the reader was too slow. `unchecked`: so many of
    the tenant that were not even compared. `away`: the connection was, and nobody knows how many.
    """

    skipped: int = 0
    unchecked: int = 0
    away: bool = False


class Tailing:
    """One tail across all its connections.

    Before the first one stands, a failure is raised at once, as by a question; later ones are tried again until
    `give_up_after_s` have passed without a connection.
    """

    def __init__(self, patience: RetryPolicy, give_up_after_s: float) -> None:
        self._attempts = Attempts(patience, give_up_after_s)
        self._opened = False
        self._messages = Messages()

    def open(self) -> list[Gap]:
        """A stream begins; what to tell of the time since the one before."""
        gaps = [Gap(away=True)] if self._opened else []
        self._opened = True
        self._messages = Messages()
        self._attempts.begin()
        return gaps

    def feed(self, piece: bytes) -> Iterator[msgspec.Raw | Gap]:
        """What a piece of the stream completes."""
        return self._messages.feed(piece)

    def broke(self, error: Retryable) -> float:
        """Seconds to wait before the next connection."""
        if not self._opened:
            raise error
        return self._attempts.wait_s(error)


class Messages:
    """Cuts a stream into messages. Comments, which are heartbeats, and messages of other kinds are passed over."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._kind = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[msgspec.Raw | Gap]:
        self._rest += piece
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            found = self._line(bytes(line.removesuffix(b"\r")))
            if found is not None:
                yield found
        if len(self._rest) + self._size > MOST_MESSAGE_BYTES:
            raise Rejected("not_parsec", f"a message of more than {MOST_MESSAGE_BYTES >> 20} MiB")

    def _line(self, line: bytes) -> msgspec.Raw | Gap | None:
        if not line:
            kind, data = self._kind, b"\n".join(self._data)
            self._kind, self._data, self._size = b"", [], 0
            return _message(kind, data) if data else None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._kind = value
        elif name == b"data":
            self._data.append(value)
            self._size += len(value)
        return None


def _message(kind: bytes, data: bytes) -> msgspec.Raw | Gap | None:
    try:
        if kind in (b"", b"message"):
            return msgspec.json.decode(data, type=msgspec.Raw)
        return msgspec.json.decode(data, type=Gap) if kind == b"gap" else None
    except msgspec.DecodeError as error:
        raise Rejected("not_parsec", f"the stream holds something else than events: {error}") from error
