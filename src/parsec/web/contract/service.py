"""/health, /livez, /readyz, /stats, /metrics and /openapi.yaml, for openapi.yaml."""

from parsec.web.contract.operation import KEY_ERRORS, TEXT, Answer, Operation, sent
from parsec.web.health_routes import Alive, HealthAnswer, Ready
from parsec.web.stats_routes import StatsAnswer

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
            sent("The process lives.", Alive, headers=_NO_STORE),
            sent("Restart it.", Alive, status=503, headers=_NO_STORE),
        ],
    ),
    Operation(
        "get",
        "/readyz",
        "readyz",
        "Whether to send requests here",
        "For a load balancer: 503 while starting, stopping, or when a part is unhealthy.",
        [
            sent("Send requests.", Ready, headers=_NO_STORE),
            sent("Send none.", Ready, status=503, headers=_NO_STORE),
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
