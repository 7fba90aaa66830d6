"""Senders without an API key, and GET /admin/keyless, which lists them: before the first key is created, and while
PARSEC_AUTH=warn serves such requests from this machine.

In: each request that is served without a key. Out: a count, a log line at most every 10 s with PARSEC_AUTH=warn, and
the senders of the last minutes. Errors: none. Next: parsec.api.status.

Memory is bounded: there is a page for each minute with at most SENDERS_PER_MINUTE senders; others are only counted.
"""

from collections import Counter, deque
from collections.abc import Collection
from itertools import islice
from typing import Literal

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from parsec.api.status import KeylessAnswer, KeylessSender
from parsec.telemetry import Telemetry
from parsec.web.responses import JsonResponse

KEYLESS_TICK_S = 10.0
MINUTES = 10
SENDERS_PER_MINUTE = 500
SHOWN_SENDERS = 100
PATH = "/admin/keyless"
"""Not counted itself."""
_TICKS_PER_PAGE = 6
_TENANTS_PER_REQUEST = 10
_MAX_AGENT_BYTES = 100
_OTHERS = ("", "", b"")

Auth = Literal["required", "warn", "off"]

_log = structlog.get_logger(__name__)


class KeylessSenders:
    """Used on the event loop."""

    def __init__(self, telemetry: Telemetry, auth: Auth, keys_file: str = "") -> None:
        self._requests = telemetry.keyless_requests.counts
        self._auth: Auth = auth
        self._keys_file = keys_file
        self._page: Counter[tuple[str, str, bytes]] = Counter()
        self._pages = deque([self._page], MINUTES)
        self._ticks = 0
        self._may_log = auth == "warn"

    def note(self, address: str, user_agent: bytes, tenants: Collection[str]) -> None:
        """A request that was served without a key. `tenants`: of its events, or the one that it asked about."""
        self._requests[""] += 1
        page, agent = self._page, user_agent[:_MAX_AGENT_BYTES]
        for tenant in islice(tenants, _TENANTS_PER_REQUEST) if tenants else ("",):
            sender = (tenant, address, agent)
            page[sender if sender in page or len(page) < SENDERS_PER_MINUTE else _OTHERS] += 1
        if self._may_log:
            self._may_log = False
            _log.warning(
                "A request without an API key was served (PARSEC_AUTH=warn). GET /admin/keyless lists the senders.",
                tenant=next(iter(tenants), ""), address=address, user_agent=_text(agent),
            )  # fmt: skip

    def tick(self) -> None:
        """Called every KEYLESS_TICK_S."""
        self._may_log = self._auth == "warn"
        self._ticks += 1
        if self._ticks % _TICKS_PER_PAGE == 0:
            self._page = Counter()
            self._pages.append(self._page)

    def recent(self) -> KeylessAnswer:
        """The senders with the most requests come first."""
        total: Counter[tuple[str, str, bytes]] = Counter()
        for page in self._pages:
            total.update(page)
        requests = total.total()
        total.pop(_OTHERS, None)
        shown = [
            KeylessSender(tenant, address, _text(agent), count)
            for (tenant, address, agent), count in total.most_common(SHOWN_SENDERS)
        ]
        return KeylessAnswer(
            self._auth, self._keys_file, MINUTES, requests, shown, requests - sum(each.requests for each in shown)
        )

    def routes(self) -> list[Route]:
        return [Route("/admin/keyless", self.keyless)]

    async def keyless(self, _: Request) -> Response:
        """Requests of this process without a key."""
        return JsonResponse(self.recent())


def _text(agent: bytes) -> str:
    return agent.decode("latin-1")
