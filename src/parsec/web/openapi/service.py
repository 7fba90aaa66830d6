"""/health, /livez, /readyz, /stats, /metrics and /openapi.yaml, for openapi.yaml."""

from collections.abc import Iterator

from parsec.api.audit import Audit
from parsec.api.status import HealthAnswer, LivenessAnswer, ReadinessAnswer, StatsAnswer
from parsec.web.http1 import refusals
from parsec.web.http1.refusals import Refusal
from parsec.web.openapi.operation import (
    KEY_ERRORS,
    QUESTION_ERRORS,
    RETRY_AFTER,
    TEXT,
    Answer,
    Operation,
    problem,
    sent,
)

_NO_STORE = {"Cache-Control": {"const": "no-store"}}

OPERATIONS = (
    Operation(
        "get",
        "/health",
        "health",
        "Every part and its state",
        "Answers at once, whatever hangs. `degraded` and `unhealthy` parts say `why`.",
        [
            sent("Healthy or degraded.", HealthAnswer, headers=_NO_STORE),
            sent("Unhealthy.", HealthAnswer, status=503, headers=_NO_STORE),
        ],
    ),
    Operation(
        "get",
        "/livez",
        "livez",
        "Whether a restart would help",
        "For a supervisor: 503 when a part is beyond help.",
        [
            sent("The process lives.", LivenessAnswer, headers=_NO_STORE),
            sent("Restart it.", LivenessAnswer, status=503, headers=_NO_STORE),
        ],
    ),
    Operation(
        "get",
        "/readyz",
        "readyz",
        "Whether to send requests here",
        "For a load balancer: 503 while starting, stopping, or when a part is unhealthy.",
        [
            sent("Send requests.", ReadinessAnswer, headers=_NO_STORE),
            sent("Send none.", ReadinessAnswer, status=503, headers=_NO_STORE),
        ],
    ),
    Operation(
        "get",
        "/stats",
        "stats",
        "Counts and the ledger",
        "What this process has done since its start, and what became of every offset of the log.",
        [sent("The figures.", StatsAnswer), *KEY_ERRORS],
        scope="admin",
    ),
    Operation(
        "get",
        "/metrics",
        "metrics",
        "Figures for Prometheus",
        "In the Prometheus text format, or as OpenMetrics to whoever asks for it by `Accept`: see docs/metrics.md.",
        [Answer(200, "The figures.", {"text/plain": TEXT, "application/openmetrics-text": TEXT}), *KEY_ERRORS],
        scope="admin",
    ),
    Operation(
        "get",
        "/openapi.yaml",
        "openapi",
        "This document",
        "What this version of Parsec promises, as OpenAPI.",
        [Answer(200, "OpenAPI 3.1.", {"application/yaml": {}})],
    ),
)


ADMIN_OPERATIONS = (
    Operation(
        "get",
        "/admin/audit",
        "audit",
        "The ledger, recounted",
        "Counts rows and dead letters of the store by position, up to the committed offset of each partition, and "
        "compares them with the ledger. `difference` is 0 when all is where it should be; `not_recounted` offsets are "
        "those whose events may have left the store by age or by size.",
        [sent("The recount.", Audit), *QUESTION_ERRORS],
        scope="admin",
    ),
)


def _refusals() -> Iterator[Refusal]:
    yield refusals.malformed("The request could be read in two ways.")
    yield from (each for each in vars(refusals).values() if isinstance(each, Refusal))


def _answers() -> Iterator[tuple[int, Answer]]:
    by_status: dict[int, list[Refusal]] = {}
    for refusal in _refusals():
        by_status.setdefault(refusal.status, []).append(refusal)
    for status, told in sorted(by_status.items()):
        again = all(one.retry_after_s is not None for one in told)
        text = " ".join(f"`{one.code}`: {one.detail}" for one in told)
        yield status, problem(status, text, RETRY_AFTER if again else None)


EARLY = dict(_answers())
"""By status. The connection ends after each of them."""
