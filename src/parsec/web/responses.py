"""Errors as application/problem+json (RFC 9457), for every endpoint but ingest.

In: what a route raised. Out: a response with a stable `code`, and `Retry-After` where a retry may help. Next:
parsec.api.problem.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response

from parsec.api.problem import PROBLEM_TYPE, Problem
from parsec.core.errors import Rejected, Retryable
from parsec.web.auth import CHALLENGE

_log = structlog.get_logger(__name__)


def problem(
    status: int, code: str, detail: str, field: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """An error answer."""
    body = Problem(status, HTTPStatus(status).phrase, detail, code, field)
    return JsonResponse(body, status, headers, media_type=PROBLEM_TYPE)


async def on_rejected(_: Request, error: Exception) -> Response:
    """The request is wrong; the client must change it."""
    assert isinstance(error, Rejected)
    return rejection(error)


def rejection(error: Rejected) -> Response:
    """The answer to a request that is wrong, or that must wait for its turn."""
    later = {"Retry-After": "1"}
    headers = {401: {"WWW-Authenticate": CHALLENGE[1].decode()}, 429: later, 503: later}.get(error.status)
    return problem(error.status, error.code, error.message, error.field, headers)


async def on_retryable(_: Request, error: Exception) -> Response:
    """The store does not answer now."""
    assert isinstance(error, Retryable)
    # Not to the client: the reason may name files of this machine.
    _log.warning("A query could not be answered.", why=str(error))
    return problem(
        503,
        "unavailable",
        "The store cannot answer now. Try again later; Parsec's log says why.",
        headers={"Retry-After": str(max(1, round(error.after_s)))},
    )


async def on_disconnect(_: Request, __: Exception) -> Response:
    """The client has gone; no one reads this."""
    return Response(status_code=499)


async def on_http_error(request: Request, error: Exception) -> Response:
    """No such path, or no such method on it."""
    status: int = getattr(error, "status_code", 500)
    path = request.url.path
    if status == 404:
        return problem(404, "not_found", f"No endpoint has the path {path}. docs/api.md lists the endpoints.")
    if status == 405:
        detail = f"{path} does not accept {request.method}; the header Allow names the methods."
        return problem(405, "method_not_allowed", detail, headers=getattr(error, "headers", None))
    return problem(status, "http_error", str(getattr(error, "detail", "The request failed.")))


async def on_bug(_: Request, __: Exception) -> Response:
    """A bug; the log has the stack."""
    return problem(500, "internal", "Parsec failed on this request because of a bug; its log has the details.")


class JsonResponse(Response):
    """A struct as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)
