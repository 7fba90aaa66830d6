"""What an answer means, whether to try again, and after how long; without a socket, for both clients.

In: a Response, or what broke instead of one. Out: an Answer, or the seconds to wait. Errors: Rejected, Retryable.
A request that is sent again is sent byte for byte as before: the server derives ids from the body, so a repeat of
what it had already taken is recognised.
"""

import random
import time
from collections.abc import Callable

import msgspec

from parsec.api.responses import Answer, decode_answer, refusal, retry_after_s
from parsec.client.requests import Question, T
from parsec.client.transport import Response
from parsec.core.clock import Clock, SystemClock
from parsec.core.errors import Rejected, Retryable

_TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 10.0


class RetryPolicy(msgspec.Struct, frozen=True):
    """How waiting is done; the defaults are the world's, tests bring their own.

    `jitter` gives 0..1. `told` hears of every wait before it begins: seconds and the reason.
    """

    clock: Clock = SystemClock()
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    told: Callable[[float, str], None] = lambda _wait_s, _reason: None


class Attempts:
    """Those at one request. `give_up_after_s` None: the first is the last."""

    def __init__(self, patience: RetryPolicy, give_up_after_s: float | None) -> None:
        self._patience = patience
        self._give_up_after_s = give_up_after_s
        self.begin()

    def begin(self) -> None:
        """As if none had failed yet."""
        self._failed = 0
        self._deadline = self._patience.clock.monotonic() + (self._give_up_after_s or 0.0)

    def wait_s(self, error: Retryable) -> float:
        """Seconds before the next one, at least what the server asked for. Raises Retryable when it would be too late.

        Doubles from 0.1 s to 10 s; half of it is random, so that many clients do not come back at once.
        """
        if self._give_up_after_s is None:
            raise error
        longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(self._failed, 32))
        wait_s = max(error.after_s, longest * (0.5 + 0.5 * self._patience.jitter()))
        if self._patience.clock.monotonic() + wait_s > self._deadline:
            raise Retryable(f"gave up after {self._give_up_after_s:g} s: {error}", after_s=error.after_s) from error
        self._failed += 1
        self._patience.told(wait_s, str(error))
        return wait_s


def settled(response: Response) -> Answer:
    """The verdicts on a request of events."""
    if response.status in _TRY_AGAIN:
        raise try_again(response)
    answer = decode_answer(response.body)
    about_events = answer is not None and answer.accepted + answer.rejected > 0
    if answer is None or response.status not in (200, 400) or (response.status == 400 and not about_events):
        raise refusal(response.status, response.body)
    return answer


def answered(question: Question[T], response: Response) -> T:
    """The answer to a question."""
    refuse(response)
    return question.read(response.body)


def refuse(response: Response) -> None:
    """Raises unless the status is 200."""
    if response.status in _TRY_AGAIN:
        raise try_again(response)
    if response.status != 200:
        raise refusal(response.status, response.body)


def try_again(response: Response) -> Retryable:
    """What a status such as 429 says."""
    why: Rejected = refusal(response.status, response.body)
    return Retryable(f"{why.message} ({why.code})", after_s=retry_after_s(response.headers.get("retry-after", "")))
