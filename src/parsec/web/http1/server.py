"""uvicorn's server as a part of the service, and its TLS certificate.

In: the application, limits, an address. Out: answers on a socket that we bind; signals are left to the service.
Errors: Fatal when the address cannot be bound. Next: parsec.web.http1.fast_path.

`Tls` reloads the certificate when its files change; an unusable pair is logged, and the previous one stays in use. New
connections use the new pair. The listener keeps one context, whose SNI callback passes each handshake to the newest
context, so that no handshake sees half of a pair.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

import structlog
import uvicorn

from parsec.core.errors import Fatal
from parsec.core.file_watch import WatchedFile
from parsec.web.app import App
from parsec.web.http1.connection_limiter import ConnectionLimiter
from parsec.web.http1.fast_path import FastPathConnection

_log = structlog.get_logger(__name__)


class Tls:
    """Used on the event loop."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises Fatal."""
        self._files = (certificate, key)
        self._watched = [WatchedFile(file) for file in self._files]
        self.listening = self._newest = self._load()
        self.listening.sni_callback = self._use_newest

    def reload_if_changed(self) -> None:
        """Load the files again if they have changed."""
        if any([file.changed() for file in self._watched]):  # noqa: C419 (check each of them)
            self.reload()

    def reload(self) -> None:
        """Load the files again."""
        try:
            self._newest = self._load()
        except Fatal as error:
            _log.error("The TLS certificate cannot be reloaded; the previous one stays in use.", why=str(error))
        else:
            _log.info("TLS certificate reloaded.", file=str(self._files[0]))

    def _use_newest(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._newest

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        certificate, key = self._files
        try:
            # A key under a password would be asked for on a terminal, where a service has none.
            context.load_cert_chain(certificate, key, password=lambda: b"")
        except OSError as error:  # ssl's errors, too
            raise Fatal(
                f"The certificate {certificate} with the key {key} cannot be used: {_why(error)}. "
                "Check PARSEC_TLS_CERTIFICATE and PARSEC_TLS_KEY."
            ) from error
        return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason.lower().replace("_", " ") if error.reason else "not PEM, or the key has a password"
    return error.strerror or str(error)


BODY_GRACE_S = 2.0
"""How long a request body may still arrive after the listener is closed."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, handshake_timeout_s: float) -> None:
        super().__init__(config)
        self._handshake_timeout_s = handshake_timeout_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        for each in sockets or ():
            await self.listen(each)
        self.started = True

    async def listen(self, listener: socket.socket) -> None:
        """Like uvicorn's startup, but a TLS handshake has the deadline of a request head."""
        config, loop = self.config, asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        timeout_s = None if config.ssl is None else self._handshake_timeout_s
        server = await loop.create_server(
            connection, sock=listener, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=timeout_s
        )
        self.servers = [server]

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class HttpServer:
    """The listener. `stop` closes it, then waits for open requests."""

    name = "http"

    def __init__(
        self, app: App, limiter: ConnectionLimiter, host: str, port: int, shutdown_timeout_s: float,
        fail: Callable[[], None], tls: Tls | None = None,
    ) -> None:  # fmt: skip
        self._fail = fail
        self._scheme = "http" if tls is None else "https"
        self._host = host
        self._port = port
        self.url = ""
        """Known once the server has started."""
        config = uvicorn.Config(
            app,
            http=partial(FastPathConnection, app.ingest, limiter),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, int(shutdown_timeout_s) - 2),
            backlog=2048,
        )
        config.load()
        config.ssl = None if tls is None else tls.listening
        self._server = _Server(config, limiter.limits.head_timeout_s)
        self._serving: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None
        self._accepting: socket.socket | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._listener = listener = _bind(self._host, self._port)
        self._accepting = listener.dup()
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._accepting]))
        while not self._server.started:
            await asyncio.sleep(0.001)
            if self._serving.done():
                await self._serving
                raise Fatal("The HTTP server stopped while it was starting; see the log lines above.")
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self._serving.add_done_callback(self._ended)
        self.url = f"{self._scheme}://{shown}:{port}"
        _log.info("Serving.", url=self.url)

    def sweep(self) -> None:
        """Once a second: close what takes too long, see parsec.web.http1.limits."""
        now = asyncio.get_running_loop().time()
        for connection in list(self._server.server_state.connections):
            if isinstance(connection, FastPathConnection):
                connection.sweep(now)
        deaf = self._accepting is not None and self._accepting.fileno() < 0
        if deaf and not self._server.should_exit and (self._reopening is None or self._reopening.done()):
            self._reopening = asyncio.create_task(self._reopen())

    async def _reopen(self) -> None:
        """The event loop closes a listener for good when accepting fails, as it may while no file descriptor is free.
        New connections wait in the system's queue meanwhile."""
        with contextlib.suppress(OSError):  # none is free yet; the next sweep tries again
            if self._listener is None:
                return
            self._accepting = self._listener.dup()
            await self._server.listen(self._accepting)
            _log.warning("Connections could not be accepted: no file descriptor was free. They are accepted again.")

    async def stop(self, deadline: float) -> None:
        del deadline  # uvicorn has its own, set at construction
        self._server.should_exit = True
        if self._listener is not None:
            self._listener.close()
        if self._serving is not None:
            await asyncio.wait([self._serving], timeout=BODY_GRACE_S)
            self._cut_unfinished_bodies()
            await self._serving

    def _cut_unfinished_bodies(self) -> None:
        """Disconnect clients that could delay the stop: those that still send a body, and readers of an endless answer
        that have not read its end."""
        for connection in list(self._server.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is None or cycle.response_complete:
                continue
            if (cycle.more_body and not cycle.response_started) or getattr(cycle, "scope", {}).get("endless"):
                connection.transport.abort()

    def _ended(self, _: asyncio.Task[None]) -> None:
        if not self._server.should_exit:
            _log.error("The HTTP server stopped unexpectedly; the service stops.")
            self._fail()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise Fatal(
            f"Cannot listen on {host}:{port}: {error.strerror}. Free it, or choose another with --host and --port."
        ) from error
    listener.setblocking(False)
    return listener
