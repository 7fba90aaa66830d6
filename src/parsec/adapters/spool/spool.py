"""The spool: events on this machine's disk until Kafka takes them. Its own log, and those that no process holds.

In: groups that were not acknowledged. Out: their records, oldest first, for parsec.adapters.spool.drain.
Errors: Retryable while the disk refuses or the spool is full, Fatal when no spool can be opened.
Next: parsec.adapters.spool.drain.

Layout: `<directory>/<n>`, each a log of parsec.adapters.log.embedded under its own lock. A process takes the first that
is free, with all that is in it. A free one that still has events is adopted: drained, then closed.
"""

import threading
from contextlib import suppress
from pathlib import Path

import structlog

from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.adapters.log.files import Files
from parsec.adapters.log.state import State
from parsec.adapters.log.writer import NAMES, load
from parsec.adapters.spool.ledger import DIRECTORY, SpoolAccount, SpoolLedgers
from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Retryable
from parsec.core.held_directory import HeldDirectory
from parsec.ports.broker import Assigned, Counts, Group, Slice
from parsec.telemetry import Telemetry

_log = structlog.get_logger(__name__)

MOST_SPOOLS = 64
SPOOL_READER = "drain"
_REFUSED = "refused.ndjson"


class SpoolReader:
    """One spool while it is drained. Used by one thread; `waiting` by any."""

    def __init__(self, directory: Path, log: EmbeddedLog, account: SpoolAccount) -> None:
        """Raises OSError."""
        self.directory = directory
        self.log = log
        self._account = account
        self._reader = log.reader(SPOOL_READER)
        assigned = self._reader.poll(0, 1, 1)
        assert isinstance(assigned, Assigned)
        self._epoch = assigned.epoch
        self._committed = assigned.progress.committed
        self._counts = assigned.progress.counts
        account.open(assigned.progress, log.end)

    @property
    def waiting(self) -> int:
        return self.log.end - self._committed

    def poll(self, max_events: int, max_bytes: int) -> Slice | None:
        """The next records; None when no more are left. Raises Retryable."""
        records = self._reader.poll(0, max_events, max_bytes)
        return records if isinstance(records, Slice) else None

    def commit(self, records: Slice, refused: int) -> None:
        """Kafka has these, except the `refused` ones, which `keep_refused` has. Raises Retryable, OSError."""
        if records.lost:
            self._account.lost(records.first, records.first + records.lost)
        before = self._counts
        counts = Counts(
            stored=before.stored + len(records.values) - refused,
            dead=before.dead + refused,
            lost=before.lost + records.lost,
        )
        self._reader.commit(records.partition, self._epoch, records.next_offset, counts)
        self._committed, self._counts = records.next_offset, counts
        self.note_position()

    def note_position(self) -> None:
        """So that it is known how much is lost if the spool is deleted. From any thread."""
        self._account.moved(self._committed, self.log.end)

    def keep_refused(self, values: list[bytes]) -> Path:
        """Writes events that Kafka refuses for good to a file, for a person to look at. Raises OSError."""
        path = self.directory / _REFUSED
        with path.open("ab") as file:
            file.write(b"".join(value + b"\n" for value in values))
        return path

    def close(self) -> None:
        self.note_position()
        self._reader.close()
        self.log.close()


class NoSpool:
    """PARSEC_SPOOL=off: what Kafka does not take is refused."""

    waiting = size_bytes = 0

    def append(self, group: Group) -> None:
        del group
        raise Retryable("PARSEC_SPOOL is off")

    def refuses(self) -> str | None:
        return "PARSEC_SPOOL is off"

    def oldest(self) -> SpoolReader | None:
        return None

    def adopt(self) -> None: ...

    def note_position(self) -> None: ...

    def close(self) -> None: ...


class DiskSpool:
    """The spools of a directory that this process holds. One thread, the drain's, calls `oldest` and `adopt`."""

    def __init__(self, directory: Path, options: LogOptions, clock: Clock, telemetry: Telemetry) -> None:
        """Takes the first spool that is free. Raises Fatal."""
        self._directory = directory
        self._options = options
        self._clock = clock
        self._telemetry = telemetry
        self._adopted: list[SpoolReader] = []
        self._drained: dict[str, int] = {}
        self._ledgers = SpoolLedgers(directory.with_name(DIRECTORY), clock)
        self._own = self._open_first_free()
        if self._own.waiting:
            _log.info("The spool has events for Kafka.", spool=str(self._own.directory), events=self._own.waiting)

    @property
    def waiting(self) -> int:
        return self._own.waiting + sum(each.waiting for each in list(self._adopted))

    @property
    def held(self) -> HeldDirectory:
        """Whether this process's own spool is still at its path."""
        return self._own.log.held

    @property
    def size_bytes(self) -> int:
        """Of this process's own spool."""
        return self._own.log.size_bytes

    def append(self, group: Group) -> None:
        """Returns once the group survives a power cut. From any thread. Raises Retryable."""
        was_empty = not self._own.waiting
        self._own.log.publish([group])
        if was_empty:  # the drain notes the rest
            self._own.note_position()
        self._telemetry.spooled.inc(len(group.events))

    def refuses(self) -> str | None:
        """Why nothing can be appended now; None when it can. Never blocks."""
        return self._own.log.refuses()

    def watch(self, stop: threading.Event) -> None:
        """Runs in its own thread until `stop`: finds out whether the spool can be written, also without events."""
        self._own.log.watch(stop)

    def oldest(self) -> SpoolReader | None:
        """The spool to drain next; None when no events are waiting."""
        while self._adopted and not self._adopted[0].waiting:
            self._release(self._adopted.pop(0))
        if self._adopted:
            return self._adopted[0]  # first, since its events are older
        return self._own if self._own.waiting else None

    def note_position(self) -> None:
        """Called now and then, so that it is known how much is lost if this process's spool is deleted."""
        self._own.note_position()

    def adopt(self) -> None:
        """Takes over the spools of processes that have ended, and counts those that are missing."""
        held = {each.directory for each in (self._own, *self._adopted)}
        for path in sorted(self._directory.iterdir()):
            if path in held or not path.name.isdigit() or self._drained.get(path.name) == _written_ns(path):
                continue
            try:
                spool = self._open(path)
            except Fatal:
                continue  # another process holds it
            if spool.waiting:
                _log.info("The spool of a stopped process is sent to Kafka.", spool=str(path), events=spool.waiting)
                self._adopted.append(spool)
            else:
                self._release(spool)
        self._count_missing()

    def _count_missing(self) -> None:
        unsent = self._ledgers.unsent()
        if not unsent:
            return
        here = {each.log.log_id for each in (self._own, *self._adopted)}
        here |= {log_id for path in self._directory.iterdir() for log_id in _log_ids(path)}
        for log_id in unsent.keys() - here:
            self._ledgers.account(unsent[log_id].spool, log_id, self._telemetry).gone()

    def close(self) -> None:
        for each in (*self._adopted, self._own):
            each.close()

    def _open_first_free(self) -> SpoolReader:
        why: Fatal | None = None
        for number in range(MOST_SPOOLS):
            try:
                return self._open(self._directory / str(number))
            except Fatal as error:
                why = error
        raise Fatal(f"no spool can be opened: {why}") from why

    def _open(self, path: Path) -> SpoolReader:
        log = EmbeddedLog.open(path, self._options, self._clock, self._telemetry)
        try:
            return SpoolReader(path, log, self._ledgers.account(f"spool/{path.name}", log.log_id, self._telemetry))
        except OSError as error:
            log.close()
            raise Fatal(f"the ledger of the spool {path} cannot be written: {error}") from error
        except BaseException:
            log.close()
            raise

    def _release(self, spool: SpoolReader) -> None:
        spool.close()
        self._drained[spool.directory.name] = _written_ns(spool.directory)


Spool = DiskSpool | NoSpool


def _log_ids(path: Path) -> set[str]:
    """Of the spool in a directory, as far as its files say; another process may hold it."""
    found: set[str] = set()
    with suppress(OSError):
        checkpoint, _ = load(Files(), path)
        found |= {checkpoint.log_id} if checkpoint else set()
    with suppress(Fatal):
        found |= {each.log_id for each in State.peek(path / "state.db").values()}
    return found


def _written_ns(path: Path) -> int:
    """When the spool in `path` was last written to, so that an empty one is not opened again and again."""
    try:
        return (path / NAMES[0]).stat().st_mtime_ns
    except OSError:
        return 0
