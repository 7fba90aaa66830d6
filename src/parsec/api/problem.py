"""The error answer of every endpoint but POST /ingest: application/problem+json (RFC 9457) with a stable code."""

import msgspec

PROBLEM_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an error answer. `code` is stable; `field` names the parameter that is wrong."""

    status: int
    title: str
    detail: str
    code: str
    field: str | None = None
