"""Error answers: who is told to come back is told when."""

import asyncio

from starlette.requests import Request

from parsec.core.errors import Rejected, Retryable
from parsec.web.responses import on_rejected, on_retryable

REQUEST = Request({"type": "http"})


def test_only_what_may_be_asked_again_names_a_time() -> None:
    crowded = asyncio.run(on_rejected(REQUEST, Rejected("too_many_tails", "Too many.", status=429)))
    assert (crowded.status_code, crowded.headers["retry-after"]) == (429, "1")
    busy = asyncio.run(on_rejected(REQUEST, Rejected("too_many_questions", "Too many.", status=503)))
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
    away = asyncio.run(on_retryable(REQUEST, Retryable("gone", after_s=2.6)))
    assert (away.status_code, away.headers["retry-after"]) == (503, "3")
    wrong = asyncio.run(on_rejected(REQUEST, Rejected("invalid_parameter", "Wrong.")))
    assert (wrong.status_code, wrong.headers.get("retry-after")) == (400, None)
