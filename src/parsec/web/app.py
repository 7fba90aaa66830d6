"""The ASGI application: paths to routes, which rights they need, and the request log.

In: requests. Out: POST /ingest to its raw route, the rest through Starlette. Next: parsec.web.routes.

1. A route that neither OPEN nor FOR_QUERY names needs the scope admin, so a new one is closed until it is added there.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from functools import cache, partial
from typing import TypeAlias
from urllib.parse import parse_qsl

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parsec.core.errors import Rejected, Retryable
from parsec.keys.key import Caller, Right
from parsec.web.auth import Authenticator, credentials_of
from parsec.web.cors import Cors
from parsec.web.responses import on_bug, on_disconnect, on_http_error, on_rejected, on_retryable, rejection
from parsec.web.routes.ingest import IngestRoute, address_of_client
from parsec.web.routes.keyless import PATH as KEYLESS_PATH

MAX_TENANT_CHARS = 64

Routes: TypeAlias = Sequence[Route]

OPEN = frozenset({"/health", "/livez", "/readyz", "/openapi.yaml"})
"""Paths that need no key."""

FOR_QUERY = ("/query/", "/deadletters")
"""Prefixes of paths that need the scope query; their routes determine the tenant."""


def right_for(path: str) -> Right | None:
    """The right that a route needs; None: not even a key."""
    if path in OPEN:
        return None
    return "query" if path.startswith(FOR_QUERY) else "admin"


class App:
    """The ASGI application of a process."""

    def __init__(
        self, ingest: IngestRoute, routes: Routes, authenticator: Authenticator, origins: Collection[str] = (),
        count: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """`origins`, `count`: see parsec.web.cors."""
        self.ingest = ingest
        self._cors = Cors(self._to_routes, origins, count)
        self._authenticator = authenticator
        self._routes = [*routes, Route("/openapi.yaml", _openapi)]
        self._log = structlog.get_logger(__name__).bind()
        self._logs_requests = self._log.is_enabled_for(logging.DEBUG)  # asked once: without it no request pays for it
        for route in self._routes:
            right = right_for(route.path)
            if right is not None:
                route.app = _Guard(route.app, right)
        self._rest = Starlette(
            routes=self._routes,
            exception_handlers={
                Rejected: on_rejected,
                Retryable: on_retryable,
                ClientDisconnect: on_disconnect,
                HTTPException: on_http_error,
                Exception: on_bug,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._call_logged if self._logs_requests else self._cors)(scope, receive, send)

    async def _to_routes(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/ingest":
            scope["is_logged"] = True  # by parsec.ingest.pipeline, for both ways into it
            await self.ingest(scope, receive, send)
            return
        credentials, address = credentials_of(scope["headers"]), address_of_client(scope)
        optional = scope["path"] in OPEN
        try:
            authenticate = self._authenticator.authenticate_optional if optional else self._authenticator.authenticate
            scope["caller"] = authenticate(credentials, None, address)
        except Rejected as error:
            await rejection(error)(scope, receive, send)
            return
        scope["is_still_valid"] = partial(self._authenticator.is_still_valid, credentials, address)
        if not optional and scope["path"] != KEYLESS_PATH and self._authenticator.serves_keyless(credentials, address):
            self._note_keyless(scope, address)
        scope["cursor_cipher"] = self._authenticator.cursor_cipher
        await self._rest(scope, receive, send)

    def _note_keyless(self, scope: Scope, address: str) -> None:
        agent = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
        asked = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        self.ingest.keyless.note(address, agent, (asked.get("tenant", "")[:MAX_TENANT_CHARS],))

    async def _call_logged(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One line per request, with the route and not the path, which may contain ids and secrets."""
        began, status = time.perf_counter(), 0

        async def note_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._cors(scope, receive, note_status)
        finally:
            if "is_logged" not in scope:
                matching = [route.path_format for route in self._routes if route.matches(scope)[0] is not Match.NONE]
                tenant = scope.get("tenant") or getattr(scope.get("caller"), "tenant", None) or ""
                ms = round((time.perf_counter() - began) * 1000, 1)
                self._log.debug(
                    "Request answered." if status else "Request abandoned by its client.",
                    method=scope["method"],
                    route="/ingest" if scope["path"] == "/ingest" else next(iter(matching), "unknown"),
                    status=status,
                    ms=ms,
                    tenant=tenant,
                )


class _Guard:
    """A route that needs a right."""

    def __init__(self, app: ASGIApp, right: Right) -> None:
        self._app = app
        self._right: Right = right

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller = scope["caller"]
        caller.require(self._right)
        await self._app(scope, receive, send)


async def _openapi(_: Request) -> Response:
    return Response(_openapi_text(), media_type="application/yaml")


@cache
def _openapi_text() -> bytes:
    # Late: the document is made only when a client asks for it.
    from parsec.web.openapi.document import text

    return text().encode()
