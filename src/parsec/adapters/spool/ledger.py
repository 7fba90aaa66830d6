"""The ledger of the spools: what each of them has lost, kept apart from the spools themselves.

In: the position of a spool, and the gaps that its drain meets. Out: parsec.api.status.SpoolLedger for each spool that
has lost something, the same after every restart. Errors: OSError while a loss cannot be written; what only helps to
count the loss of a whole spool is written without. Next: parsec.web.routes.stats, parsec.query.completeness.

Layout: `<directory>/<log id>.json` has the losses of a spool, synced; `<log id>.position` how far it was written and
sent. Only the process that holds the spool writes them; any may read them. They are outside of the spool, so that a
spool that is deleted as a whole leaves a count, too.

Invariants, cited by tests
 1. A loss is on disk before the spool commits beyond it, and is counted once: the drain goes in order, and what lies
    below `counted_to` was counted before.
 2. A spool whose log is in no directory any more has lost all that was written to it and not sent.
 3. Damage to these files never keeps a spool from opening.
"""

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from parsec.adapters.log.files import Files
from parsec.api.status import LostSpan, SpoolLedger
from parsec.core.clock import Clock
from parsec.core.timestamp import text_of
from parsec.ports.broker import Progress
from parsec.telemetry import Telemetry

_log = structlog.get_logger(__name__)

T = TypeVar("T")

MOST_GAPS = 100
"""Listed; all are counted."""
READ_EVERY_S = 1.0
DIRECTORY = "spool_ledger"
"""In the data directory."""
LOSSES, POSITION = ".json", ".position"


class SpoolPosition(msgspec.Struct, frozen=True):
    """Offsets below `committed` were sent or lost; `end` is the next one."""

    spool: str
    committed: int
    end: int


class SpoolAccount:
    """The ledger of one spool, for the process that holds it. Used by the drain's thread; `moved` by any."""

    def __init__(self, spool: str, directory: Path, log_id: str, clock: Clock, telemetry: Telemetry) -> None:
        self._spool = spool
        self._log_id = log_id
        self._file = directory / f"{log_id}{LOSSES}"
        self._position_file = directory / f"{log_id}{POSITION}"
        self._clock = clock
        self._telemetry = telemetry
        self._position: SpoolPosition | None = None
        self._turn = threading.Lock()

    def open(self, progress: Progress, end: int) -> None:
        """Counts what is missing from before the spool's state was lost (2). Raises OSError."""
        if progress.counts.lost and _read(self._file, SpoolLedger) is None:
            self._count_unlisted(progress)
        before = _read(self._position_file, SpoolPosition)
        if before is not None and progress.start > before.committed:
            self._missing(before.committed, progress.start)
        self.moved(progress.committed, end)

    def moved(self, committed: int, end: int) -> None:
        """Notes how far the spool was written and sent; not synced, as it only counts once the spool is gone."""
        now = SpoolPosition(self._spool, committed, end)
        with self._turn:
            if now == self._position:
                return
            self._position = now
            with suppress(OSError):
                _replace(self._position_file, msgspec.json.encode(now), durable=False)

    def gone(self) -> None:
        """The spool is missing (2). Raises OSError."""
        before = _read(self._position_file, SpoolPosition)
        if before is not None:
            self._missing(before.committed, before.end)
            self.moved(before.end, before.end)

    def lost(self, first: int, end: int) -> None:
        """Offsets first..end-1 of this spool are lost. Call it before the commit (1). Raises OSError."""
        known = _read(self._file, SpoolLedger) or SpoolLedger(self._spool, self._log_id, 0, 0, [])
        first = max(first, known.counted_to)
        if first >= end:
            return
        where = [*known.where, LostSpan(first, end, text_of(self._clock.time_ns()))][-MOST_GAPS:]
        self._save(SpoolLedger(self._spool, self._log_id, known.lost + end - first, end, where))
        self._telemetry.spool_lost.inc(end - first)

    def _missing(self, first: int, end: int) -> None:
        if first < end:
            _log.error("A spool is missing, or a part of it, with events that Kafka does not have. They are lost.",
                       spool=self._spool, log_id=self._log_id, from_offset=first, to_offset=end)  # fmt: skip
            self.lost(first, end)

    def _count_unlisted(self, progress: Progress) -> None:
        """Losses that only the spool's own state knows: of an earlier version, or of a ledger that was damaged."""
        span = LostSpan(progress.start, progress.committed, text_of(self._clock.time_ns()))
        self._save(SpoolLedger(self._spool, self._log_id, progress.counts.lost, progress.committed, [span]))

    def _save(self, ledger: SpoolLedger) -> None:
        _replace(self._file, msgspec.json.encode(ledger), durable=True)


class SpoolLedgers:
    """What the spools of a directory have lost, whoever holds them. From any thread."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._read_at = float("-inf")
        self._known: Sequence[SpoolLedger] = ()

    def account(self, spool: str, log_id: str, telemetry: Telemetry) -> SpoolAccount:
        """For the holder of the spool with this log. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return SpoolAccount(spool, self._directory, log_id, self._clock, telemetry)

    def losses(self) -> Sequence[SpoolLedger]:
        """Each spool that has lost something, at most a second old."""
        now = self._clock.monotonic()
        if now - self._read_at >= READ_EVERY_S:
            self._known = read_losses(self._directory)
            self._read_at = now  # last: until then another thread reads them, too
        return self._known

    def unsent(self) -> dict[str, SpoolPosition]:
        """By log, the spools that had events for Kafka when their position was noted last."""
        found = {path.stem: _read(path, SpoolPosition) for path in self._directory.glob(f"*{POSITION}")}
        return {log_id: each for log_id, each in found.items() if each is not None and each.committed < each.end}

    def warn_of_unsent(self) -> None:
        """Where this process will not send them."""
        for each in self.unsent().values():
            _log.warning("A spool has events for Kafka, which are not sent. Start once with the settings of before "
                         "(KAFKA_BROKERS, PARSEC_SPOOL) to send them.",
                         spool=each.spool, events=each.end - each.committed)  # fmt: skip


def read_losses(directory: Path) -> list[SpoolLedger]:
    """Of all spools that ever were here."""
    found = [_read(file, SpoolLedger) for file in directory.glob(f"*{LOSSES}")]
    return sorted((each for each in found if each is not None), key=lambda each: (each.spool, each.log_id))


def _read(file: Path, kind: type[T]) -> T | None:
    """None when the file is missing or damaged; a damaged one is kept as `*.corrupt` (3)."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except msgspec.MsgspecError:
        with suppress(OSError):
            file.replace(f"{file}.corrupt")
        _log.error("The ledger of a spool was damaged and set aside. It begins anew.", file=str(file))
        return None
    except OSError:
        return None


def _replace(file: Path, content: bytes, *, durable: bool) -> None:
    files, new = Files(), file.with_name(file.name + ".new")
    fd = files.create(new)
    try:
        files.write(fd, [content], 0)
        if durable:
            files.sync(fd)
    finally:
        files.close(fd)
    files.rename(new, file)
    if durable:
        files.sync_directory(file.parent)
