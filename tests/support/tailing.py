"""A reader of GET /query/tail that notes what it is sent."""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlencode


class Reader:
    """Reads in a thread of its own from `with` on, or, if it is `stuck`, only the head of the answer."""

    def __init__(self, port: int, tenant: str, q: str = "", *, stuck: bool = False) -> None:
        self.events: list[dict[str, Any]] = []
        self.gaps: list[dict[str, int]] = []
        self.comments = 0
        self.ended = False
        self.complete = False
        """Whether the body was ended by the server, rather than cut off."""
        self._socket = socket.socket()
        if stuck:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(60)
        self._socket.connect(("127.0.0.1", port))
        asked = urlencode({"tenant": tenant, "q": q})
        self._socket.sendall(f"GET /query/tail?{asked} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self._stream = self._socket.makefile("rb", buffering=1 if stuck else -1)
        self.status = int(self._stream.readline().split()[1])
        while (line := self._stream.readline().strip()) and line:
            pass
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._stuck = stuck

    def __enter__(self) -> Self:
        if not self._stuck:
            self.read()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # the other side has closed it
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(10)
        self._stream.close()
        self._socket.close()

    def read(self) -> None:
        """Begins to read; a stuck reader does so when told."""
        self._thread.start()

    def wait(self, until: Callable[[Self], bool], timeout_s: float = 30.0) -> None:
        """Until what was read so far is enough."""
        end = time.monotonic() + timeout_s
        while not until(self):
            assert time.monotonic() < end, f"{len(self.events)} events, gaps {self.gaps}, ended {self.ended}"
            time.sleep(0.01)

    def skipped(self) -> int:
        """Events that it was told it missed, for whatever reason."""
        return sum(gap["skipped"] + gap["unchecked"] for gap in self.gaps)

    def _read(self) -> None:
        text = b""
        try:
            while size := int(self._stream.readline() or b"0", 16):
                text += self._stream.read(size)
                self._stream.readline()
                *messages, text = text.split(b"\n\n")
                for message in messages:
                    self._note(message.decode())
            self.complete = self._stream.readline() == b"\r\n"
        except OSError:
            return

    def _note(self, message: str) -> None:
        kind, data = "message", ""
        for line in message.split("\n"):
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data = value
            elif name == "":
                self.comments += 1
        if kind == "end":
            self.ended = True
        elif kind == "gap":
            self.gaps.append(json.loads(data))
        elif data:
            self.events.append(json.loads(data))
