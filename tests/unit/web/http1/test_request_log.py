"""The debug line of each request that the connection layer answers."""

import asyncio

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from parsec.telemetry import Telemetry
from parsec.web.http1 import close
from parsec.web.http1.connection_limiter import ClientLimits, ConnectionLimiter
from parsec.web.http1.limits import LimitedConnection


class Log:
    """Keeps the fields of each debug line."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []

    def debug(self, event: str, **fields: object) -> None:
        assert event == "Request answered."
        self.lines.append(fields)


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        pass


async def answer(data: bytes, connections: int = 10, *, logs: bool = True) -> bytes:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("no request reaches the application")

    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None)
    config.load()
    limiter = ConnectionLimiter(ClientLimits(connections=connections), Telemetry())
    limiter.logs_refusals = logs
    connection = LimitedConnection(limiter, config=config, server_state=ServerState(), app_state={})
    transport = Transport()
    connection.connection_made(transport)
    connection.data_received(data)
    return transport.written


@pytest.mark.parametrize(
    ("data", "route", "status", "code"),
    [
        (b"POST /ingest?a=b HTTP/1.1\r\n\r\n", "/ingest", 400, "malformed_request"),
        (
            b"POST /ingest HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "/ingest",
            400,
            "malformed_request",
        ),
        (b"POST /" + b"a" * 20_000, "unknown", 414, "url_too_long"),
        (b"POST /x HTTP/1.3\r\nHost: localhost\r\n\r\n", "unknown", 505, "http_version"),
    ],
)
def test_a_refused_request_has_one_line(
    monkeypatch: pytest.MonkeyPatch, data: bytes, route: str, status: int, code: str
) -> None:
    log = Log()
    monkeypatch.setattr(close, "_log", log)
    answered = asyncio.run(answer(data))
    assert answered.startswith(b"HTTP/1.1 %d " % status)
    (line,) = log.lines
    assert (line["method"], line["route"], line["status"], line["code"]) == ("POST", route, status, code)


def test_a_connection_refused_before_any_request_has_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(close, "_log", log)
    assert asyncio.run(answer(b"", connections=0)).startswith(b"HTTP/1.1 503 ")
    (line,) = log.lines
    assert (line["method"], line["route"], line["code"]) == ("", "unknown", "too_many_connections")


def test_without_debug_no_fields_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(close, "_log", log)
    assert asyncio.run(answer(b"", connections=0, logs=False)).startswith(b"HTTP/1.1 503 ")
    assert log.lines == []
