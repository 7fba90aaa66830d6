"""The meaning of a response, and whether and when to retry; no socket, for both clients.

In: a Response, or the error instead of one. Out: a decoded answer, or the seconds to wait. Errors: Rejected, Retryable.
A retry sends the same bytes: the server derives ids from the body, and so recognises events that it already accepted.
"""

import random
import time
from collections.abc import Callable

import msgspec

from parsec.api.ingest import IngestAnswer, decode_ingest_answer
from parsec.api.problem import refusal, retry_after_s
from parsec.client.requests import Request, T
from parsec.client.transport import Response
from parsec.core.clock import Clock, SystemClock
from parsec.core.errors import Retryable

_RETRYABLE = frozenset({429, 500, 502, 503, 504})
_FIRST_WAIT_S = 0.1
_MAX_WAIT_S = 10.0


class RetryPolicy(msgspec.Struct, frozen=True):
    """How to wait between attempts. `jitter` gives 0..1; `on_wait` gets the seconds and the reason of each wait."""

    clock: Clock = SystemClock()
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    on_wait: Callable[[float, str], None] = lambda _wait_s, _reason: None


class Attempts:
    """The attempts at one request. `give_up_after_s` None allows only one."""

    def __init__(self, retry: RetryPolicy, give_up_after_s: float | None) -> None:
        self._retry = retry
        self._give_up_after_s = give_up_after_s
        self.begin()

    def begin(self) -> None:
        """Forgets earlier failures."""
        self._failed = 0
        self._deadline = self._retry.clock.monotonic() + (self._give_up_after_s or 0.0)

    def wait_s(self, error: Retryable) -> float:
        """Seconds before the next attempt, at least the server's Retry-After. Raises Retryable past the deadline.

        Doubles from 0.1 s to 10 s; half of it is random, so that many clients do not come back at once.
        """
        if self._give_up_after_s is None:
            raise error
        longest = min(_MAX_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(self._failed, 32))
        wait_s = max(error.after_s, longest * (0.5 + 0.5 * self._retry.jitter()))
        if self._retry.clock.monotonic() + wait_s > self._deadline:
            raise Retryable(f"gave up after {self._give_up_after_s:g} s: {error}", after_s=error.after_s) from error
        self._failed += 1
        self._retry.on_wait(wait_s, str(error))
        return wait_s


def ingest_answer(response: Response) -> IngestAnswer:
    """The verdicts on a request of events. Raises Rejected when they concern the request as a whole, Retryable."""
    _raise_if_retryable(response)
    answer = decode_ingest_answer(response.body)
    about_events = answer is not None and answer.accepted + answer.rejected > 0
    if answer is None or response.status not in (200, 400) or (response.status == 400 and not about_events):
        raise refusal(response.status, response.body)
    return answer


def query_answer(request: Request[T], response: Response) -> T:
    """The decoded answer to a request. Raises Rejected, Retryable."""
    raise_for_status(response)
    return request.decode(response.body)


def raise_for_status(response: Response) -> None:
    """Raises Rejected or Retryable unless the status is 200."""
    _raise_if_retryable(response)
    if response.status != 200:
        raise refusal(response.status, response.body)


def _raise_if_retryable(response: Response) -> None:
    if response.status in _RETRYABLE:
        reason = refusal(response.status, response.body)
        after_s = retry_after_s(response.headers.get("retry-after", ""))
        raise Retryable(f"{reason.message} ({reason.code})", after_s=after_s)
