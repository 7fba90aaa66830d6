"""The listener comes back when the event loop has given it up."""

import asyncio
import socket
from types import SimpleNamespace
from typing import cast

import uvloop

from parsec.telemetry import Telemetry
from parsec.web.app import App
from parsec.web.http1.connection_limiter import ClientLimits, ConnectionLimiter
from parsec.web.http1.server import HttpServer


def test_a_listener_that_the_event_loop_closed_is_opened_again() -> None:
    """As it does when accepting fails for lack of a file descriptor (uvloop's handles/streamserver.pyx)."""

    async def run() -> None:
        limiter = ConnectionLimiter(ClientLimits(connections=10), Telemetry())
        server = HttpServer(cast(App, SimpleNamespace(ingest=None)), limiter, "127.0.0.1", 0, 3.0, lambda: None)
        await server.start()
        assert server._accepting is not None
        address = server._accepting.getsockname()
        server._server.servers[0].close()
        for _ in range(10):  # the handle is closed in a later turn of the loop
            await asyncio.sleep(0)
        assert server._accepting.fileno() < 0
        server.sweep()
        assert server._reopening is not None
        await server._reopening
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"nonsense\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
        writer.close()
        await server.stop(0.0)
        with socket.socket() as probe:
            assert probe.connect_ex(address) != 0, "a stopped server must not keep a queue of connections"

    uvloop.run(run())
