"""What a Parsec answers, as structs. Unknown fields are ignored, so that a newer server can be asked too."""

from typing import Any, TypeVar

import msgspec

from parsec.core.errors import Rejected

T = TypeVar("T")


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Why one event of a request was refused; `index` is None when it is about the whole request."""

    code: str
    message: str = ""
    index: int | None = None
    id: str | None = None
    field: str | None = None
    retryable: bool = False


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `POST /ingest`. `ack` names what holds for the accepted events: durable, enqueued, spooled."""

    success: bool
    accepted: int = 0
    rejected: int = 0
    ack: str | None = None
    errors: list[Verdict] = []
    errors_truncated: bool | int = False


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer about events says of itself: up to when it is complete, and which parts did not answer."""

    complete_until: str | None = None
    missing: list[Any] = []


class Page(Found, frozen=True, kw_only=True):
    """One page of `GET /query/events`: each event as the JSON bytes that came. `cursor` is None at the end."""

    events: list[msgspec.Raw]
    cursor: str | None = None


class Single(Found, frozen=True, kw_only=True):
    """Of `GET /query/events/{id}`."""

    event: msgspec.Raw


class Surroundings(Found, frozen=True, kw_only=True):
    """Of `GET /query/events/{id}/context`, all oldest first."""

    before: list[msgspec.Raw]
    event: msgspec.Raw
    after: list[msgspec.Raw]


class _Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An `application/problem+json`, as all other endpoints give."""

    code: str = ""
    title: str = ""
    detail: str = ""


_ANSWERS = msgspec.json.Decoder(Answer)
_PROBLEMS = msgspec.json.Decoder(_Problem)


def read_answer(body: bytes) -> Answer | None:
    """None: this is no answer of an ingest endpoint (a proxy's page, a problem)."""
    try:
        return _ANSWERS.decode(body)
    except msgspec.DecodeError:
        return None


def read(body: bytes, into: type[T], what: str = "one of a Parsec") -> T:
    """Raises Rejected: something else than a Parsec answered; `what` the answer should have been."""
    try:
        return msgspec.json.decode(body, type=into)
    except msgspec.DecodeError as error:
        raise Rejected("not_parsec", f"the answer is not {what}: {error}") from error


def refusal(status: int, body: bytes) -> Rejected:
    """The reason that a body of either kind gives for `status`."""
    answer = read_answer(body)
    if answer is not None and answer.errors:
        first = answer.errors[0]
        return Rejected(first.code, first.message or first.code, field=first.field, status=status)
    try:
        problem = _PROBLEMS.decode(body)
    except msgspec.DecodeError:
        problem = _Problem()
    message = problem.detail or problem.title or f"the server answered with status {status}"
    return Rejected(problem.code or f"http_{status}", message, status=status)
