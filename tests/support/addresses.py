"""One plain request to every address that exists, for tests that go through all of them.

A route that is not in ADDRESSES fails those tests: whoever adds one thinks about who may use it, and what it tells.
"""

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, urlencode

from parsec.web.openapi.endpoints import OPERATIONS
from tests.support.ingesting import compact
from tests.support.load import event

Right = str


class Asked(NamedTuple):
    """A request, as http.client takes it."""

    method: str
    path: str
    body: bytes | None = None


class About(NamedTuple):
    """Whose events (None: the key says it), which of them, by which expression."""

    tenant: str | None = None
    id: str = "e-1"
    q: str = ""
    field: str = "source"


def _get(path: str, about: About, **more: str) -> Asked:
    given = {"tenant": about.tenant, **more}
    return Asked("GET", f"{path}?{urlencode({name: text for name, text in given.items() if text is not None})}")


def _events_of(about: About) -> Asked:
    sent = event(about.id, about.tenant or "")
    if about.tenant is None:
        del sent["tenant_id"]
    return Asked("POST", "/ingest", compact(sent))


def _scoped(path: str) -> Callable[[About], Asked]:
    return lambda about: _get(path, about, **{"q": about.q, "from": "0", "to": "2100-01-01T00:00:00Z"})


def _alone(path: str) -> Callable[[About], Asked]:
    return lambda _: Asked("GET", path)


ADDRESSES: dict[tuple[str, str], tuple[Right, Callable[[About], Asked]]] = {
    ("post", "/ingest"): ("ingest", _events_of),
    ("get", "/query/events"): ("query", _scoped("/query/events")),
    ("get", "/query/tail"): ("query", lambda about: _get("/query/tail", about, q=about.q)),
    ("get", "/query/histogram"): ("query", _scoped("/query/histogram")),
    ("get", "/query/aggregate"): ("query", _scoped("/query/aggregate")),
    ("get", "/query/fields"): ("query", _scoped("/query/fields")),
    ("get", "/query/fields/{name}/values"): (
        "query",
        lambda about: _scoped(f"/query/fields/{quote(about.field)}/values")(about),
    ),
    ("get", "/query/events/{id}"): ("query", lambda about: _get(f"/query/events/{quote(about.id, safe='')}", about)),
    ("get", "/query/events/{id}/context"): (
        "query",
        lambda about: _get(f"/query/events/{quote(about.id, safe='')}/context", about),
    ),
    ("get", "/deadletters"): ("query", lambda about: _get("/deadletters", about)),
    ("get", "/deadletters/{log_id}/{partition}/{offset}"): (
        "query",
        lambda about: _get(f"/deadletters/{quote(about.id, safe='')}/0/0", about),
    ),
    ("get", "/health"): ("", _alone("/health")),
    ("get", "/livez"): ("", _alone("/livez")),
    ("get", "/readyz"): ("", _alone("/readyz")),
    ("get", "/openapi.yaml"): ("", _alone("/openapi.yaml")),
    ("get", "/stats"): ("admin", _alone("/stats")),
    ("get", "/metrics"): ("admin", _alone("/metrics")),
    ("get", "/admin/keyless"): ("admin", _alone("/admin/keyless")),
    ("get", "/admin/audit"): ("admin", _alone("/admin/audit")),
    ("get", "/admin/repair"): ("admin", _alone("/admin/repair")),
    ("post", "/admin/repair"): ("admin", lambda _: Asked("POST", "/admin/repair", b"")),
}


def all_addresses() -> dict[tuple[str, str], tuple[Right, Callable[[About], Asked]]]:
    """ADDRESSES, checked against what openapi.yaml declares, as that is against the routes of the code."""
    declared = {(operation.endpoint.method, operation.endpoint.path) for operation in OPERATIONS}
    assert set(ADDRESSES) == declared, "say in tests/support/addresses.py who may use a new address"
    return ADDRESSES
