"""What browsers need to hear: whose pages may use this API, and that its answers are data and nothing else.

In: any request. Out: the same, with headers in its answer. Errors: 403 `cross_origin` for a request by which another
site's page would change something here: a browser sends some of those without asking first, as when a page that
a developer looks at posts to a Parsec on the same machine.

Programs that are no browsers send no `Origin`, and are refused nothing here. No route sets a header of these itself.
"""

from collections.abc import Callable, Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from parsec.web.responses import problem

DATA_ONLY = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))
"""In every answer: no other type is guessed, and nothing is kept on the way."""

_IN_ANSWERS = (
    *DATA_ONLY,
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
_SENT = ("Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key", "X-API-Key", "X-Tenant-ID")
_SHOWN = (
    *("Parsec-Complete-Until", "Parsec-Missing", "Parsec-Cursor"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy", "Retry-After"),
)
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})

CROSS_ORIGIN = "cross_origin"


class Cors:
    """An ASGI application around another one. `origins`: whose pages may use it; `*`: all."""

    def __init__(self, app: ASGIApp, origins: Collection[str], count: Callable[[str], None]) -> None:
        self._origins = frozenset(origins)
        self._count = count
        self._app = app
        if origins:
            self._app = CORSMiddleware(
                app, tuple(origins), ("GET", "HEAD", "POST"), allow_headers=_SENT, expose_headers=_SHOWN
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_IN_ANSWERS]
            await send(message)

        app = self._app
        if scope["method"] not in _HARMLESS and self._is_foreign(scope):
            self._count(CROSS_ORIGIN)
            app = problem(
                403, CROSS_ORIGIN, "Pages of this origin may not write here; PARSEC_CORS_ORIGINS names those that may."
            )
        await app(scope, receive, with_headers)

    def _is_foreign(self, scope: Scope) -> bool:
        given: dict[bytes, str] = {
            name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"origin", b"host")
        }
        origin = given.get(b"origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return False
        # Only the host: a proxy in front may speak another scheme.
        return origin.partition("://")[2].lower() != given.get(b"host", "").lower()
