"""/health, /livez, /readyz, /stats, /metrics, /openapi.yaml and /admin/audit, for openapi.yaml."""

from typing import Any

from parsec.api.endpoint import Endpoint
from parsec.api.parameters import AUDIT, HEALTH, LIVEZ, METRICS, OPENAPI, READYZ, STATS
from parsec.web.http1 import refusals
from parsec.web.http1.refusals import Refusal
from parsec.web.openapi.operation import (
    KEY_ERRORS,
    QUESTION_ERRORS,
    RETRY_AFTER,
    TEXT,
    Operation,
    Response,
    problem,
    sent,
)


def _check(endpoint: Endpoint[Any, Any], summary: str, help_: str, good: str, bad: str) -> Operation:
    headers = {"Cache-Control": {"const": "no-store"}}
    answers = (sent(good, endpoint.answer, 200, headers), sent(bad, endpoint.answer, 503, headers))
    return Operation(endpoint, summary, help_, answers)


SERVICE_OPERATIONS = (
    _check(
        HEALTH,
        "Show the state of every part",
        "Answers at once, even if a part hangs. `degraded` and `unhealthy` parts say `why`.",
        "Healthy or degraded.",
        "Unhealthy.",
    ),
    _check(
        LIVEZ,
        "Tell whether a restart would help",
        "For a supervisor: 503 when only a restart can help a part.",
        "The process is alive.",
        "Restart the process.",
    ),
    _check(
        READYZ,
        "Tell whether to send requests here",
        "For a load balancer: 503 during start and stop, and when a part is unhealthy.",
        "Send requests here.",
        "Send no requests here.",
    ),
    Operation(
        STATS,
        "Show counts and the ledger",
        "The work of this process since its start, and the fate of every offset of the log.",
        (sent("The counts.", STATS.answer), *KEY_ERRORS),
        "admin",
    ),
    Operation(
        METRICS,
        "Show metrics for Prometheus",
        "In the Prometheus text format, or as OpenMetrics if `Accept` asks for it: see docs/metrics.md.",
        (Response(200, "The metrics.", {"text/plain": TEXT, "application/openmetrics-text": TEXT}), *KEY_ERRORS),
        "admin",
    ),
    Operation(
        OPENAPI,
        "Show this document",
        "The HTTP interface of this version of Parsec, as OpenAPI.",
        (Response(200, "OpenAPI 3.1.", {"application/yaml": {}}),),
    ),
)
ADMIN_OPERATIONS = (
    Operation(
        AUDIT,
        "Recount the ledger",
        "Counts rows and dead letters of the store by position, up to the committed offset of each partition, and "
        "compares them with the ledger. `difference` is 0 when everything is in its place; the events of "
        "`not_recounted` offsets may have left the store by age or by size.",
        (sent("The recount.", AUDIT.answer), *QUESTION_ERRORS),
        "admin",
    ),
)


def _early() -> dict[int, Response]:
    by_status: dict[int, list[Refusal]] = {}
    known = [each for each in vars(refusals).values() if isinstance(each, Refusal)]
    for refusal in (refusals.malformed("The request could be read in two ways."), *known):
        by_status.setdefault(refusal.status, []).append(refusal)
    return {
        status: problem(
            status,
            " ".join(f"`{one.code}`: {one.detail}" for one in refused),
            RETRY_AFTER if all(one.retry_after_s is not None for one in refused) else None,
        )
        for status, refused in sorted(by_status.items())
    }


EARLY = _early()
"""The answers that a request to any endpoint may get before a route sees it; the connection ends after each."""
