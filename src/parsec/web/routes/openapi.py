"""GET /openapi.yaml: what the HTTP interface promises, for programs.

Next: parsec.web.openapi.document.
"""

from functools import cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@cache
def _text() -> bytes:
    # Late: made only where somebody asks for it.
    from parsec.web.openapi.document import text

    return text().encode()


def contract_route() -> Route:
    """The same document from every process, whatever its role."""

    async def openapi(_: Request) -> Response:
        return Response(_text(), media_type="application/yaml")

    return Route("/openapi.yaml", openapi)
