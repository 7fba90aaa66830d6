"""Whether the log can be written, known also while no event arrives.

In: the outcome of each publish, and of a probe that writes as a publish does. Out: the reason why nothing can be made
durable now. Errors: none. Next: parsec.web.routes.health, parsec.ingest.admission.

Invariants, cited by tests
 1. A failure that a publish or a probe outlives within DOUBT_S refuses no one.
 2. While in doubt the log is probed every RECHECK_S, so that it is ready again soon after it was mended.
 3. A call that does not return within HANG_S refuses what comes meanwhile, instead of letting it wait for its time-out.
 4. A log without a publish for PROBE_EVERY_S is probed, so that a fault is known before an event meets it.
"""

import threading
from collections.abc import Callable

import structlog

from parsec.adapters.log.index import LogContext
from parsec.core.clock import Clock
from parsec.core.errors import Retryable

DOUBT_S = 1.0
RECHECK_S = 0.5
HANG_S = 8.0
PROBE_EVERY_S = 5.0
"""One small file is written and synced; a busy log needs no probe."""

_log = structlog.get_logger(__name__)


class WriteCheck:
    """`probe` raises Retryable when the log cannot be written. From any thread; `check` from one."""

    def __init__(self, probe: Callable[[], None], clock: Clock) -> None:
        self._probe = probe
        self._clock = clock
        self._written_at = clock.monotonic()
        self._failure: tuple[float, str] | None = None  # since when, and why
        self._calling_since: float | None = None

    def began(self) -> None:
        """Before each call that writes; one of the next three must follow."""
        if self._calling_since is None:
            self._calling_since = self._clock.monotonic()

    def ended(self) -> None:
        """The call ended and says nothing about the disk."""
        self._calling_since = None

    def succeeded(self) -> None:
        self._written_at = self._clock.monotonic()
        self._calling_since = None
        if self._failure is not None:
            since, _ = self._failure
            self._failure = None
            _log.info("The log can be written again.", after_s=round(self._written_at - since, 1))

    def failed(self, why: str) -> None:
        self._calling_since = None
        since = self._clock.monotonic() if self._failure is None else self._failure[0]
        self._failure = (since, why)

    def refusal(self) -> str | None:
        """Why nothing can be made durable now."""
        failure, calling_since = self._failure, self._calling_since
        if failure is not None and self._clock.monotonic() - failure[0] >= DOUBT_S:
            return failure[1]
        if calling_since is not None and (hangs_s := self._clock.monotonic() - calling_since) >= HANG_S:
            return f"the disk of the log has not answered for {hangs_s:.0f} s"
        return None

    def run(self, stop: threading.Event) -> None:
        """The body of a thread, until `stop`."""
        while not stop.wait(RECHECK_S):
            self.check()

    def check(self) -> None:
        """Probes the log if it is in doubt, or was not written for a while."""
        known = self._failure
        if known is None and self._clock.monotonic() - self._written_at < PROBE_EVERY_S:
            return
        self.began()
        try:
            self._probe()
        except Retryable as error:
            if known is None:
                _log.warning("The log cannot be written. New events get 503 until it can.", why=str(error))
            self.failed(str(error))
        else:
            self.succeeded()


def make_deleted_directory(context: LogContext) -> None:
    """Makes the directory of segments anew if it was deleted; one that was moved away must come back. Raises
    Retryable."""
    if context.held.was_deleted():
        try:
            context.files.make_directory(context.directory)
        except OSError as error:
            raise Retryable(f"the log cannot be written: {error.strerror}: {context.directory}") from error
        context.held.renew()
