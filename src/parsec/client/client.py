"""The client: send until it is safe, query page by page.

In: events as bytes, questions as keywords. Out: Answer, Page. Errors: Rejected, Retryable.
A request that is sent again is sent byte for byte as before: the server derives ids from the body, so a repeat of
what it had already taken is recognised.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from parsec.client.answers import Answer, Page, read, read_answer, refusal
from parsec.client.connection import Connection, Response, retry_after_s
from parsec.client.dead_letters import Letter, LetterPage
from parsec.client.figures import Fields, Histogram, Values
from parsec.core.clock import Clock, SystemClock
from parsec.core.errors import Rejected, Retryable

PAGE_EVENTS = 1_000
"""Events asked for at once: a page is held in memory, and each event may be 256 KiB."""

_TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 10.0


class Patience(msgspec.Struct, frozen=True):
    """How waiting is done; the defaults are the world's, tests bring their own.

    `jitter` gives 0..1. `told` hears of every wait before it begins: seconds and the reason.
    """

    clock: Clock = SystemClock()
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    told: Callable[[float, str], None] = lambda _wait_s, _reason: None


class Client:
    """One connection to one Parsec; for one thread. Close it, or use it in a `with`."""

    def __init__(
        self, url: str, *, api_key: str | None = None, timeout_s: float = 30.0, patience: Patience | None = None
    ) -> None:
        """`timeout_s` bounds one wait for the socket. Raises ValueError when `url` is no address."""
        self._connection = Connection(url, timeout_s=timeout_s)
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._patience = patience or Patience()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, body: bytes, *, defaults: Mapping[str, str] | None = None, give_up_after_s: float = 60.0) -> Answer:
        """Sends one request until it is answered for good. `body` has any shape that POST /ingest takes.

        `defaults` (tenant_id, source, severity) fill in what events lack. 429, 503 and broken connections are tried
        again, with the same bytes, after at least the server's Retry-After. Raises Rejected when the request as
        a whole is refused (key, size, encoding), Retryable when `give_up_after_s` is over: its fate is unknown.
        """
        path = "/ingest" + (f"?{urlencode(defaults)}" if defaults else "")
        headers = {**self._headers, "Content-Type": "application/json"}
        clock = self._patience.clock
        deadline = clock.monotonic() + give_up_after_s
        attempt = 0
        while True:
            try:
                response = self._connection.request("POST", path, body, headers)
                if response.status not in _TRY_AGAIN:
                    return _settled(response)
                error = _try_again(response)
            except Retryable as broken:
                error = broken
            wait_s = max(error.after_s, self._backoff_s(attempt))
            if clock.monotonic() + wait_s > deadline:
                raise Retryable(f"gave up after {give_up_after_s:g} s: {error}", after_s=error.after_s) from error
            self._patience.told(wait_s, str(error))
            self._patience.sleep(wait_s)
            attempt += 1

    def query(
        self,
        tenant: str | None = None,
        *,
        q: str | None = None,
        start: str | None = None,
        end: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        order: Literal["newest", "oldest"] = "newest",
    ) -> Page:
        """One page of events, newest first by default; `start` inclusive, `end` exclusive.

        Not repeated: a person waits for it.

        `q` is an expression of docs/query-language.md; None: all events.

        Raises Rejected when the question is refused, Retryable when the server cannot answer it now.
        """
        asked = {"tenant": tenant, "q": q, "from": start, "to": end, "limit": str(limit), "cursor": cursor}
        asked["order"] = None if order == "newest" else order
        return read(self._get(_address("/query/events", asked)), Page, "a page of events")

    def pages(
        self,
        tenant: str | None = None,
        *,
        q: str | None = None,
        start: str | None = None,
        end: str | None = None,
        limit: int = 100,
    ) -> Iterator[Page]:
        """Follows the cursors until `limit` events or the end. Raises as query."""
        cursor: str | None = None
        left = limit
        while left > 0:
            page = self.query(tenant, q=q, start=start, end=end, limit=min(left, PAGE_EVENTS), cursor=cursor)
            yield page
            left -= len(page.events)
            cursor = page.cursor
            if cursor is None:
                return

    def histogram(
        self,
        tenant: str | None = None,
        *,
        q: str | None = None,
        start: str | None = None,
        end: str | None = None,
        interval_s: int | None = None,
        by: str | None = None,
    ) -> Histogram:
        """How many events in each stretch of time, the last hour unless told otherwise. Raises as query."""
        asked = {"tenant": tenant, "q": q, "from": start, "to": end, "by": by}
        asked["interval"] = None if interval_s is None else str(interval_s)
        return read(self._get(_address("/query/histogram", asked)), Histogram)

    def fields(
        self, tenant: str | None = None, *, q: str | None = None, start: str | None = None, end: str | None = None
    ) -> Fields:
        """Which fields events have, and how many events have each. Raises as query."""
        asked = {"tenant": tenant, "q": q, "from": start, "to": end}
        return read(self._get(_address("/query/fields", asked)), Fields)

    def values(
        self,
        field: str,
        tenant: str | None = None,
        *,
        q: str | None = None,
        start: str | None = None,
        end: str | None = None,
        limit: int = 100,
    ) -> Values:
        """Which values a field has, the most frequent first. Raises as query."""
        asked = {"tenant": tenant, "q": q, "from": start, "to": end, "limit": str(limit)}
        return read(self._get(_address(f"/query/fields/{quote(field, safe='')}/values", asked)), Values)

    def dead_letters(
        self,
        tenant: str | None = None,
        *,
        start: str | None = None,
        end: str | None = None,
        reason: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> LetterPage:
        """One page of what could not become a row, newest first; of all times unless told otherwise. Raises as query.

        `tenant` "-" asks for those that do not tell whose they are.
        """
        asked = {"tenant": tenant, "from": start, "to": end, "reason": reason, "limit": str(limit), "cursor": cursor}
        return read(self._get(_address("/deadletters", asked)), LetterPage)

    def dead_letter(self, position: str, tenant: str | None = None) -> Letter:
        """The letter at this `log_id/partition/offset`, with its bytes. Raises as query; Rejected(not_found)."""
        return read(self._get(_address(f"/deadletters/{quote(position)}", {"tenant": tenant})), Letter)

    def stats(self) -> dict[str, Any]:
        """The counts of GET /stats, as docs/api.md has them. Not repeated. Raises as query."""
        stats = read(self._get("/stats"), dict[str, Any], "the counts of a Parsec")
        if not isinstance(stats.get("producer"), dict):
            raise Rejected("not_parsec", "the answer is not the counts of a Parsec: it lacks `producer`")
        return stats

    def close(self) -> None:
        """Safe to call twice."""
        self._connection.close()

    def _get(self, path: str) -> bytes:
        response = self._connection.request("GET", path, None, self._headers)
        if response.status in _TRY_AGAIN:
            raise _try_again(response)
        if response.status != 200:
            raise refusal(response.status, response.body)
        return response.body

    def _backoff_s(self, attempt: int) -> float:
        """Doubles from 0.1 s to 10 s; half of it is random, so that many clients do not come back at once."""
        longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(attempt, 32))
        return longest * (0.5 + 0.5 * self._patience.jitter())


def _settled(response: Response) -> Answer:
    answer = read_answer(response.body)
    about_events = answer is not None and answer.accepted + answer.rejected > 0
    if answer is None or response.status not in (200, 400) or (response.status == 400 and not about_events):
        raise refusal(response.status, response.body)
    return answer


def _try_again(response: Response) -> Retryable:
    why: Rejected = refusal(response.status, response.body)
    return Retryable(f"{why.message} ({why.code})", after_s=retry_after_s(response.headers.get("retry-after", "")))


def _address(path: str, asked: Mapping[str, str | None]) -> str:
    given = urlencode({name: value for name, value in asked.items() if value is not None})
    return f"{path}?{given}" if given else path
