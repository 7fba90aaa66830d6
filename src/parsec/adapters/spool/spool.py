"""Events on this machine's disk for as long as Kafka does not take them: a log of our own, and those that nobody holds.

In: groups that were not acknowledged. Out: their records, oldest first, for parsec.adapters.spool.drain.
Errors: Retryable while the disk refuses or the spool is full, Fatal when no spool can be opened.

Layout: `<directory>/<n>`, each a log of parsec.adapters.log.embedded under its own lock. A process takes the first
that is free, with whatever is in it. One that was left with events in it is adopted: drained, then let go.
"""

from pathlib import Path
from typing import Protocol

import structlog

from parsec.adapters.log.checkpoint import NAMES
from parsec.adapters.log.embedded import EmbeddedLog, LogOptions
from parsec.core.clock import Clock
from parsec.core.errors import Fatal, Retryable
from parsec.ports.broker import Assigned, Counts, Group, Slice
from parsec.telemetry import Telemetry

_log = structlog.get_logger(__name__)

MOST_SPOOLS = 64
_READER = "drain"
_REFUSED = "refused.ndjson"


class SpoolReader:
    """One spool as it is drained. Used by one thread; `waiting` from any."""

    def __init__(self, directory: Path, log: EmbeddedLog) -> None:
        self.directory = directory
        self.log = log
        self._reader = log.reader(_READER)
        begin = self._reader.poll(0, 1, 1)
        assert isinstance(begin, Assigned)
        self._epoch = begin.epoch
        self._committed = begin.progress.committed
        self._counts = begin.progress.counts

    @property
    def waiting(self) -> int:
        """Events that Kafka does not have yet, as far as this process knows."""
        return self.log.end - self._committed

    def take(self, max_events: int, max_bytes: int) -> Slice | None:
        """What comes next; None when nothing is left. Raises Retryable."""
        piece = self._reader.poll(0, max_events, max_bytes)
        return piece if isinstance(piece, Slice) else None

    def done(self, piece: Slice, refused: int) -> None:
        """Kafka has these but for those that it `refused` for good, which `keep_refused` has. Raises Retryable."""
        fate = Counts(stored=len(piece.values) - refused, dead=refused, lost=piece.lost)
        counts = self._counts.plus(fate)
        self._reader.commit(piece.partition, self._epoch, piece.next_offset, counts)
        self._committed, self._counts = piece.next_offset, counts

    def keep_refused(self, values: list[bytes]) -> Path:
        """Events that no retry brings into the topic, for a person to look at. Raises OSError."""
        path = self.directory / _REFUSED
        with path.open("ab") as file:
            file.write(b"".join(value + b"\n" for value in values))
        return path

    def close(self) -> None:
        self._reader.close()
        self.log.close()


class Spool(Protocol):
    """Where events go that Kafka does not take."""

    def append(self, group: Group) -> None:
        """Returns when the group survives a power cut. From any thread. Raises Retryable."""

    def refuses(self) -> str | None:
        """Why nothing can be appended now; None when it can. Never blocks."""

    @property
    def waiting(self) -> int:
        """Events that are to be drained."""

    @property
    def size_bytes(self) -> int:
        """Of this process's own."""

    def oldest(self) -> SpoolReader | None:
        """What to drain next; None when nothing is waiting. For the thread that drains."""

    def adopt(self) -> None:
        """Takes over what other processes have left. For the thread that drains."""

    def close(self) -> None:
        """Safe to call twice."""


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

    def adopt(self) -> None:
        """There is no place to look at."""

    def close(self) -> None:
        """Nothing to release."""


class DiskSpool:
    """The spools of a directory that this process holds."""

    def __init__(self, directory: Path, options: LogOptions, clock: Clock, telemetry: Telemetry) -> None:
        """Takes the first spool that is free. Raises Fatal."""
        self._directory = directory
        self._options = options
        self._clock = clock
        self._telemetry = telemetry
        self._adopted: list[SpoolReader] = []
        self._left: dict[str, int] = {}
        self._own = self._first_free()
        if self._own.waiting:
            _log.info("The spool holds events for Kafka.", spool=str(self._own.directory), events=self._own.waiting)

    def append(self, group: Group) -> None:
        self._own.log.publish([group])
        self._telemetry.spooled.inc(len(group.events))

    def refuses(self) -> str | None:
        return self._own.log.refuses()

    @property
    def size_bytes(self) -> int:
        return self._own.log.size_bytes

    @property
    def waiting(self) -> int:
        return self._own.waiting + sum(source.waiting for source in list(self._adopted))

    def oldest(self) -> SpoolReader | None:
        while self._adopted and not self._adopted[0].waiting:
            self._let_go(self._adopted.pop(0))
        if self._adopted:
            return self._adopted[0]
        return self._own if self._own.waiting else None

    def adopt(self) -> None:
        held = {source.directory for source in (self._own, *self._adopted)}
        for path in sorted(self._directory.iterdir()):
            if path in held or not path.name.isdigit() or self._left.get(path.name) == _written(path):
                continue
            try:
                source = self._open(path)
            except Fatal:
                continue  # another process holds it
            if source.waiting:
                _log.info("A spool that was left is drained.", spool=str(path), events=source.waiting)
                self._adopted.append(source)
            else:
                self._let_go(source)

    def close(self) -> None:
        for source in (*self._adopted, self._own):
            source.close()

    def _first_free(self) -> SpoolReader:
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
            return SpoolReader(path, log)
        except BaseException:
            log.close()
            raise

    def _let_go(self, source: SpoolReader) -> None:
        source.close()
        self._left[source.directory.name] = _written(source.directory)


def _written(path: Path) -> int:
    """When the spool in `path` was last written to, so that an empty one is not opened again and again."""
    try:
        return (path / NAMES[0]).stat().st_mtime_ns
    except OSError:
        return 0
