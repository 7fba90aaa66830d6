"""An answer as JSON. In: a struct or a dict. Out: a response with its bytes. Errors: none."""

from typing import Any

import msgspec
from starlette.responses import Response


class JsonAnswer(Response):
    """Of every route but ingest, which is raw ASGI."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)
