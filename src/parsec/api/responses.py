"""Reading a response of `POST /ingest`, and the reason of any refusal.

In: status, headers and body of a response. Out: an Answer, or the Rejected that describes the refusal. Errors: none; a
body that is not Parsec's (a proxy's page) gives None or the code `http_<status>`.
"""

import msgspec

from parsec.core.errors import Rejected


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The reason why one event was rejected; `index` is None when it concerns the whole request."""

    code: str
    message: str = ""
    index: int | None = None
    id: str | None = None
    field: str | None = None
    retryable: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `POST /ingest`. `ack` says how safe the accepted events are: durable, enqueued or spooled."""

    success: bool
    accepted: int = 0
    rejected: int = 0
    ack: str | None = None
    errors: list[Verdict] = []
    errors_truncated: bool | int = False


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The `application/problem+json` of all other endpoints."""

    code: str = ""
    title: str = ""
    detail: str = ""


_ANSWERS = msgspec.json.Decoder(Answer)
_PROBLEMS = msgspec.json.Decoder(_Problem)


def decode_answer(body: bytes) -> Answer | None:
    """None when the body is no answer of an ingest endpoint (a proxy's page, a problem)."""
    try:
        return _ANSWERS.decode(body)
    except msgspec.DecodeError:
        return None


def refusal(status: int, body: bytes) -> Rejected:
    """The error that a refusal describes, from the body of an ingest answer or of a problem."""
    answer = decode_answer(body)
    if answer is not None and answer.errors:
        first = answer.errors[0]
        return Rejected(first.code, first.message or first.code, field=first.field, status=status)
    try:
        problem = _PROBLEMS.decode(body)
    except msgspec.DecodeError:
        problem = _Problem()
    message = problem.detail or problem.title or f"the server answered with status {status}"
    return Rejected(problem.code or f"http_{status}", message, status=status)


def retry_after_s(value: str) -> float:
    """The seconds of a Retry-After header; 0 without one, and for a date, which Parsec never sends."""
    return float(value) if value.strip().isdecimal() else 0.0
