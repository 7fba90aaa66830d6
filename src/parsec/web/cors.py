"""CORS and security headers for browsers: which origins may use the API, and that answers are data only.

In: any request. Out: its answer with these headers. Errors: 403 `cross_origin` for a request of another site's page
that could change something: browsers send some of them without a preflight, as when a page that a developer visits
posts to a Parsec on the same machine. Next: parsec.web.app.

Other programs send no `Origin` and are never refused here. No route sets any of these headers itself.
"""

from collections.abc import Callable, Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parsec.web.responses import problem

DATA_ONLY = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
"""In every answer: no content sniffing, no caching."""

_SECURITY_HEADERS = (
    *DATA_ONLY,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
_REQUEST_HEADERS = ("Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key", "X-API-Key", "X-Tenant-ID")
_RESPONSE_HEADERS = (
    *("Parsec-Complete-Until", "Parsec-Missing", "Parsec-Cursor"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy", "Retry-After"),
)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

CROSS_ORIGIN = "cross_origin"


class Cors:
    """ASGI middleware. `origins`: those whose pages may use the API; `*`: all."""

    def __init__(self, app: ASGIApp, origins: Collection[str], count: Callable[[str], None]) -> None:
        self._origins = frozenset(origins)
        self._count = count
        self._app = app
        if origins:
            self._app = CORSMiddleware(
                app, tuple(origins), ("GET", "HEAD", "POST"), allow_headers=_REQUEST_HEADERS,
                expose_headers=_RESPONSE_HEADERS,
            )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_SECURITY_HEADERS]
            await send(message)

        app = self._app
        if scope["method"] not in _SAFE_METHODS and self._is_foreign(scope):
            self._count(CROSS_ORIGIN)
            app = problem(
                403,
                CROSS_ORIGIN,
                "Pages of this origin may not change anything here. Add the origin to PARSEC_CORS_ORIGINS.",
            )
        await app(scope, receive, with_headers)

    def _is_foreign(self, scope: Scope) -> bool:
        given = [(name, value.decode("latin-1")) for name, value in scope["headers"] if name in (b"origin", b"host")]
        origins = [value for name, value in given if name == b"origin"]
        host = next((value for name, value in given if name == b"host"), "")
        if not origins or "*" in self._origins:
            return False
        # Of two origins neither is trusted. Compares only the host: a proxy in front may use another scheme.
        return len(origins) > 1 or (
            origins[0] not in self._origins and origins[0].partition("://")[2].lower() != host.lower()
        )
