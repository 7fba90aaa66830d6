"""The log as the settings want it, opened: what the rest of a process needs of it, whichever it is.

In: settings. Out: writers, a reader, threads to run. Errors: Fatal with what to do about it.
Next: parsec.adapters.broker.embedded or parsec.adapters.broker.kafka_opened.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from parsec.adapters.broker.embedded import EmbeddedLog, LogOptions
from parsec.adapters.broker.kafka_pulse import PulseState
from parsec.core.clock import Clock
from parsec.ports.broker import READER, LogReader, LogWriter, Progress
from parsec.settings import Settings
from parsec.telemetry import Telemetry


class Loop(msgspec.Struct, frozen=True):
    """A thread that the log needs. `run` returns soon after the event is set."""

    name: str
    run: Callable[[threading.Event], None]


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """One per process. Every callable but `close` is quick and may be called from any thread.

    `ends`: the time at which they were asked for, and the next offset of each partition; None: not known. `committed`:
    what the group as a whole has done, None where only the processor of this process knows; `progress`: the same with
    its counts. `waiting`: events on this machine that the log does not have yet. `contact`: None where there is nobody
    to lose contact with. `hurry`: the process ends, so the reader waits no more for a broker that is away.
    """

    writers: Sequence[LogWriter]
    reader: LogReader | None
    ends: Callable[[], tuple[int, Mapping[int, int]] | None]
    committed: Callable[[], Mapping[int, int]] | None = None
    progress: Callable[[], Mapping[int, Progress]] | None = None
    max_event_bytes: Callable[[int], int] = lambda wanted: wanted
    size_bytes: Callable[[], int] = lambda: 0
    waiting: Callable[[], int] = lambda: 0
    contact: Callable[[], PulseState] | None = None
    hurry: Callable[[], None] = lambda: None
    loops: Sequence[Loop] = ()
    close: Callable[[], None]

    def refuses(self) -> str | None:
        """Why no event can be taken in now."""
        return self.writers[0].refuses() if self.writers else "this process takes no events (PARSEC_ROLE)"


def open_embedded(settings: Settings, clock: Clock, telemetry: Telemetry) -> Opened:
    """The log of this process alone. Raises Fatal."""
    options = LogOptions(
        segment_bytes=settings.segment_bytes,
        max_bytes=settings.log_max_bytes,
        retention_s=settings.log_retention,
        disk_reserve=settings.disk_reserve,
    )
    log = EmbeddedLog.open(Path(settings.data_dir), options, clock, telemetry)

    def ends() -> tuple[int, Mapping[int, int]]:
        now_ns = clock.time_ns()  # before the end is read, so that none of that time is missing in it
        return now_ns, {0: log.end}

    return Opened(
        writers=[log], reader=log.reader(READER), ends=ends, size_bytes=lambda: log.size_bytes, close=log.close
    )
