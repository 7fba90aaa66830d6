"""Paths to routes: ingest raw, the rest through Starlette; who may go where.

1. A route that OPEN and FOR_QUERY do not name needs the scope admin, so that a new one is closed until somebody thinks
   about it.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeAlias

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from parsec.core.errors import Rejected, Retryable
from parsec.keys.caller import Caller, Right
from parsec.web.auth import Authenticator, credentials_of
from parsec.web.cors import Cors
from parsec.web.responses import on_bug, on_http_error, on_left, on_rejected, on_retryable, rejection
from parsec.web.routes.ingest import IngestRoute

Routes: TypeAlias = Sequence[Route]

OPEN = frozenset({"/health", "/livez", "/readyz", "/openapi.yaml"})
"""What needs no key."""

FOR_QUERY = ("/query/", "/deadletters")
"""Beginnings of paths for the scope query; they ask for the caller's tenant themselves."""


def needed(path: str) -> Right | None:
    """The scope that a route asks for; None: no key at all."""
    if path in OPEN:
        return None
    return "query" if path.startswith(FOR_QUERY) else "admin"


class App:
    """The ASGI application of a process."""

    def __init__(
        self,
        ingest: IngestRoute,
        routes: Routes,
        callers: Authenticator,
        origins: Collection[str] = (),
        count: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`origins`, `count`: see parsec.web.cors."""
        self.ingest = ingest
        self._to_browsers = Cors(self._to_routes, origins, count)
        self._callers = callers
        # Bound once, when logging is set up: where DEBUG is off a call costs next to nothing.
        self._log = structlog.get_logger(__name__).bind()
        for route in routes:
            right = needed(route.path)
            if right is not None:
                route.app = _Guard(route.app, right)
        self._rest = Starlette(
            routes=list(routes),
            exception_handlers={
                Rejected: on_rejected,
                Retryable: on_retryable,
                ClientDisconnect: on_left,
                HTTPException: on_http_error,
                Exception: on_bug,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._log.debug("A request.", method=scope["method"], path=scope["path"])
        await self._to_browsers(scope, receive, send)

    async def _to_routes(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/ingest":
            await self.ingest(scope, receive, send)
            return
        credentials = credentials_of(scope["headers"])
        try:
            scope["caller"] = (self._callers.if_any if scope["path"] in OPEN else self._callers.of)(credentials)
        except Rejected as error:
            await rejection(error)(scope, receive, send)
            return
        scope["still"] = partial(self._callers.still, credentials)
        scope["seal"] = self._callers.cursor_cipher
        await self._rest(scope, receive, send)


class _Guard:
    """A route behind a scope."""

    def __init__(self, app: ASGIApp, right: Right) -> None:
        self._app = app
        self._right: Right = right

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller = scope["caller"]
        caller.require(self._right)
        await self._app(scope, receive, send)
