"""A loopback HTTP server that gives the answers it was told, in order, and remembers what it was asked."""

import json
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import msgspec

from parsec.api.ingest import IngestAnswer, IngestError
from parsec.api.problem import Problem

RANGE = {"from": "2026-11-23T11:00:00Z", "to": "2026-11-23T12:00:01.5Z", "latest_event": None}
"""The range of every answer about events."""


class Asked(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """`status` 0: the connection is closed without an answer. `unread`: it answers without reading the body.

    `after`: it answers once so many requests have come in all.
    """

    status: int
    body: bytes = b"{}"
    headers: Mapping[str, str] = {}
    unread: bool = False
    close_after: bool = False
    after: int = 0


def problem(status: int, code: str, detail: str = "No.", **headers: str) -> Reply:
    """A refusal, as any endpoint but POST /ingest gives it. `retry_after` is the header Retry-After."""
    answer = Problem(status, "Title", detail, code)
    return Reply(status, msgspec.json.encode(answer), _named(headers))


def refused(status: int, code: str, message: str = "No.", **headers: str) -> Reply:
    """A refused request of POST /ingest."""
    answer = IngestAnswer(False, "durable", 0, 0, [IngestError(None, None, code, None, message)])
    return Reply(status, msgspec.json.encode(answer), _named(headers))


def accepted(count: int, *errors: IngestError) -> Reply:
    """A request of POST /ingest with a verdict on each event."""
    answer = IngestAnswer(not errors, "durable", count, len(errors), errors)
    return Reply(200 if count or not errors else 400, msgspec.json.encode(answer))


def page(
    *events: object,
    cursor: str | None = None,
    missing: Sequence[str] = (),
    of: str = "events",
    latest_event: str | None = None,
) -> Reply:
    """A page of events, or of what `of` says."""
    answer = {
        of: events,
        "cursor": cursor,
        "complete_until": "2026-11-23T12:00:01Z",
        "missing": missing,
        **RANGE,
        "latest_event": latest_event,
    }
    return Reply(200, json.dumps(answer, ensure_ascii=False).encode())


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-").title(): value for name, value in headers.items()}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that breaks off is no error here; all else is."""
        if not isinstance(sys.exception(), ConnectionError):
            raise


class Answering:
    """What a test says to the server and learns from it. Past the last reply it repeats the last one."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Asked] = []
        self.replies: deque[Reply] = deque()
        self._came = threading.Condition()

    def will(self, *replies: Reply) -> None:
        self.replies.extend(replies)

    def came(self, asked: Asked) -> None:
        with self._came:
            self.asked.append(asked)
            self._came.notify_all()

    def wait_asked(self, count: int) -> None:
        """Until so many requests have come."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.asked) >= count, 30)

    def next_reply(self) -> Reply:
        return self.replies.popleft() if len(self.replies) > 1 else self.replies[0]


@contextmanager
def answering() -> Iterator[Answering]:
    state = Answering()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # a body that is written after its head would wait 40 ms

        def handle_one(self) -> None:
            reply = state.next_reply()
            length = 0 if reply.unread else int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.came(Asked(self.command, self.path, headers, self.rfile.read(length)))
            state.wait_asked(reply.after)
            self.close_connection = reply.unread or reply.close_after or reply.status == 0
            if reply.status == 0:
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = handle_one  # noqa: N815  the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Says nothing: a test's output is its own."""

    with _Server(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
