"""The error answer of every endpoint but POST /ingest: application/problem+json (RFC 9457) with a stable code.

For clients: the error that any refusal describes. In: its status and body. Out: a Rejected. Errors: none; a body that
is not Parsec's (a proxy's page) gives the code `http_<status>`. Next: parsec.core.errors.
"""

import msgspec

from parsec.api.ingest import decode_ingest_answer
from parsec.core.errors import Rejected

PROBLEM_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an error answer. `code` is stable; `field` names the parameter that is wrong."""

    status: int
    title: str
    detail: str
    code: str
    field: str | None = None


_DECODER = msgspec.json.Decoder(Problem)


def refusal(status: int, body: bytes) -> Rejected:
    """The error that a refusal describes, from a Problem or the first error of an IngestAnswer."""
    answer = decode_ingest_answer(body)
    if answer is not None and answer.errors:
        first = answer.errors[0]
        return Rejected(first.code, first.message, field=first.field, status=status)
    try:
        problem = _DECODER.decode(body)
    except msgspec.DecodeError:
        return Rejected(f"http_{status}", f"the server answered with status {status}", status=status)
    return Rejected(problem.code, problem.detail, field=problem.field, status=status)


def retry_after_s(value: str) -> float:
    """The seconds of a Retry-After header; 0 without one, and for a date, which Parsec never sends."""
    return float(value) if value.strip().isdecimal() else 0.0
