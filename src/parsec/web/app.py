"""Paths to routes: ingest raw, the rest through Starlette."""

from collections.abc import Sequence

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from parsec.core.errors import Rejected, Retryable
from parsec.web.ingest_routes import IngestRoute, Receive, Scope, Send
from parsec.web.problems import on_bug, on_http_error, on_rejected, on_retryable


class App:
    """The ASGI application of a process."""

    def __init__(self, ingest: IngestRoute, routes: Sequence[BaseRoute]) -> None:
        self.ingest = ingest
        # Bound once, when logging is set up: where DEBUG is off a call costs next to nothing.
        self._log = structlog.get_logger(__name__).bind()
        self._rest = Starlette(
            routes=list(routes),
            exception_handlers={
                Rejected: on_rejected,
                Retryable: on_retryable,
                HTTPException: on_http_error,
                Exception: on_bug,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._log.debug("A request.", method=scope.get("method"), path=scope.get("path"))
        if scope["type"] == "http" and scope["path"] == "/ingest":
            await self.ingest(scope, receive, send)
        else:
            await self._rest(scope, receive, send)
