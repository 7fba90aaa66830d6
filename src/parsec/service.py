"""Run the parts of a process: start them in order, wait for a signal, stop them in reverse within a deadline.

In: parts in order of start (parsec.wiring). Out: an exit code. Errors: a part that cannot start stops those before it,
exit code 3; a part that fails later stops the service, exit code 1. A second signal ends the process at once. SIGHUP
reloads.
"""

import asyncio
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from parsec.core.clock import Clock
from parsec.core.errors import ParsecError
from parsec.core.lifecycle import Lifecycle

_log = structlog.get_logger(__name__)

GRACE_S = 1.0
"""Time beyond the deadline for a part to close its files."""

EXIT_OK, EXIT_FAILED, EXIT_NOT_STARTED, EXIT_FORCED = 0, 1, 3, 130


class Part(Protocol):
    """A unit that starts and stops; see parsec.wiring.START_ORDER."""

    name: str

    async def start(self) -> None:
        """Returns once the part works. Raises ParsecError or OSError with what to do."""

    async def stop(self, deadline: float, /) -> None:
        """Returns once the part has ended, at the latest at `deadline` (monotonic seconds)."""


class Resource:
    """A part that is open already and only needs closing, which may take a while."""

    def __init__(self, name: str, close: Callable[[], None]) -> None:
        self.name = name
        self._close = close

    async def start(self) -> None:
        return

    async def stop(self, _: float) -> None:
        await asyncio.to_thread(self._close)


class Ticker:
    """A part that calls a quick function every `interval_s` seconds on the event loop."""

    def __init__(self, name: str, interval_s: float, tick: Callable[[], None], fail: Callable[[], None]) -> None:
        self.name = name
        self._interval_s = interval_s
        self._tick = tick
        self._fail = fail
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self, _: float) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._interval_s)
                self._tick()
        except Exception:  # noqa: BLE001 (top of a part: log, stop the service)
            _log.exception("A part failed; the service stops.", part=self.name)
            self._fail()


class ThreadPart:
    """A part that is one thread: `run` returns after `ask_to_stop`. An exception in it stops the service."""

    def __init__(
        self, name: str, run: Callable[[], None], ask_to_stop: Callable[[float], None], fail: Callable[[], None],
        clock: Clock,
    ) -> None:  # fmt: skip
        self.name = name
        self._run = run
        self._ask_to_stop = ask_to_stop
        self._fail = fail
        self._clock = clock
        self._thread = threading.Thread(target=self._body, name=f"parsec-{name}", daemon=True)

    async def start(self) -> None:
        self._thread.start()

    async def stop(self, deadline: float) -> None:
        self._ask_to_stop(deadline)
        await asyncio.to_thread(self._thread.join, max(0.0, deadline - self._clock.monotonic()))
        if self._thread.is_alive():
            raise TimeoutError

    def _body(self) -> None:
        try:
            self._run()
        except Exception:  # noqa: BLE001 (top of a thread: log, stop the service)
            _log.exception("A part failed; the service stops.", part=self.name)
            self._fail()


class LoopTurn:
    """Give the event loop its turn: called by a busy thread between two slices of work, returns after the turn.

    The interpreter's lock has no priorities: the loop releases it in each of its many system calls, and would get it
    back from a busy thread only a switch interval later, each time. A thread that calls this costs the loop at most
    one slice per turn. While the loop is busy, its turn lasts LOOP_SHARE times as long as the slice before: ingest goes
    first, because storing can wait in the log, and the thread still gets its share. Both are measured in CPU time,
    because a waiting loop is not busy. For one thread; once the loop has ended it returns at once.
    """

    LOOP_SHARE = 3.0
    LONGEST_TURN_S = 0.004
    LONGEST_WAIT_S = 0.1
    IDLE_S = 0.0001
    """A turn of the loop that takes less was idle."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Callable[[], float] = time.thread_time) -> None:
        self._loop = loop
        self._now = now
        self._turned: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._returned_at = now()
        self._until = self._turn_began = 0.0

    def __call__(self) -> None:
        now = self._now()
        owed_s = min((now - self._returned_at) * self.LOOP_SHARE, self.LONGEST_TURN_S)
        with suppress(RuntimeError, queue.Empty):
            self._loop.call_soon_threadsafe(self._begin, owed_s)
            self._turned.get(timeout=self.LONGEST_WAIT_S)
        self._returned_at = self._now()

    def _begin(self, owed_s: float) -> None:
        self._turn_began = now = self._now()
        self._until = now + owed_s
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        now = self._now()
        if now >= self._until or now - self._turn_began < self.IDLE_S:
            self._turned.put(None)
        else:
            self._turn_began = now
            self._loop.call_soon(self._go_on)


class Service:
    """Run the parts on the current event loop."""

    def __init__(self, life: Lifecycle, drain_s: float, shutdown_timeout_s: float, clock: Clock) -> None:
        self._life = life
        self._drain_s = drain_s
        self._shutdown_timeout_s = shutdown_timeout_s
        self._clock = clock
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._exit_code = EXIT_OK
        self._signals = 0
        self._hung = False
        self._has_terminal = sys.stderr.isatty()
        self.reload: Callable[[], None] | None = None
        """Called on SIGHUP; None while the parts are being opened."""
        self._loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._on_signal, number)

    async def run(self, parts: Sequence[Part]) -> int:
        """Until the last part has stopped; the exit code."""
        started: list[Part] = []
        try:
            for part in parts:
                await part.start()
                started.append(part)
        except (ParsecError, OSError) as error:
            _log.error("Parsec could not start.", part=part.name, why=str(error))
            self._exit_code = EXIT_NOT_STARTED
        else:
            self._life.phase = "ready"
            await self._stopping.wait()
            self._life.phase = "stopping"
            await self._drain()
        await self._stop(started)
        if self._hung:
            force_exit(EXIT_FAILED)  # a hung thread would keep the process alive; acknowledged data is safe
        return self._exit_code

    def fail(self) -> None:
        """A part failed: stop the service, exit code 1. Callable from any thread."""
        self._exit_code = EXIT_FAILED
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._stopping.set)

    def _on_signal(self, number: int) -> None:
        self._signals += 1
        if self._signals > 1:
            _log.warning("Second signal: exiting at once.", signal=signal.Signals(number).name)
            force_exit(EXIT_FORCED)
        _log.info("Stopping.", signal=signal.Signals(number).name)
        self._stopping.set()

    def _on_hangup(self) -> None:
        """SIGHUP also comes when a terminal is closed; then the process ends at once, as it would without a handler."""
        if self._has_terminal and not sys.stderr.isatty():
            self._loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            signal.raise_signal(signal.SIGHUP)
        elif self.reload is None:
            _log.info("SIGHUP came during the start: everything has just been loaded.")
        else:
            self.reload()

    async def _drain(self) -> None:
        if self._drain_s and self._exit_code == EXIT_OK:
            _log.info("No longer ready; waiting for load balancers to notice (PARSEC_DRAIN_S).", seconds=self._drain_s)
            await asyncio.sleep(self._drain_s)

    async def _stop(self, started: list[Part]) -> None:
        deadline = self._clock.monotonic() + self._shutdown_timeout_s
        for part in reversed(started):
            left_s = max(0.0, deadline - self._clock.monotonic()) + GRACE_S
            try:
                await asyncio.wait_for(part.stop(deadline), left_s)
            except TimeoutError:
                _log.warning("A part did not stop within PARSEC_SHUTDOWN_TIMEOUT_S.", part=part.name)
                self._hung = True
            except Exception:  # noqa: BLE001 (the other parts must still stop)
                _log.exception("A part failed to stop cleanly.", part=part.name)
                self._exit_code = self._exit_code or EXIT_FAILED
        _log.info("Stopped.", exit_code=self._exit_code)


def force_exit(code: int) -> None:
    """Exit without cleanup: acknowledged events are safe."""
    os._exit(code)
