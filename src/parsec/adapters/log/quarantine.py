"""The quarantine: damaged parts of the log, kept as `*.corrupt` beside the segments for a person to look at.

In: a damaged segment, or a part of one. Out: a file, a log line, a count. Errors: none, since the log works without.
The oldest files are deleted first, so that their total is bounded. Next: `parsec log`.
"""

import contextlib
from pathlib import Path

import structlog

from parsec.adapters.log.files import Files
from parsec.telemetry import Telemetry

QUARANTINE_SUFFIX = ".corrupt"
_COPY_BYTES = 1 << 20

_log = structlog.get_logger(__name__)


class Quarantine:
    """`max_bytes`: of all files; the newest one is kept in any case."""

    def __init__(self, files: Files, directory: Path, max_bytes: int, telemetry: Telemetry) -> None:
        self._files = files
        self._directory = directory
        self._max_bytes = max_bytes
        self._damaged = telemetry.log_damaged

    def report_gap(self, reader: str, first: int, end: int) -> None:
        """A reader found nothing at the offsets first..end-1."""
        self._damaged.labels(what="gap").inc()
        _log.error("Events of the log are lost.", reader=reader, from_offset=first, to_offset=end)

    def report_missing(self, path: Path, why: str) -> None:
        """A segment is gone; there is no file to keep."""
        self._damaged.labels(what="segment").inc()
        _log.error("A segment of the log is missing. Its events are lost.", segment=path.name, why=why)

    def move(self, path: Path, why: str) -> None:
        """Renames a whole segment."""
        self._damaged.labels(what="segment").inc()
        target = path.with_name(self._free_name(path.name))
        kept: Path | None = None
        with contextlib.suppress(OSError):
            self._files.rename(path, target)
            self._files.sync_directory(self._directory)
            kept = target
        _log.error("A segment of the log is damaged. It was quarantined.", segment=path.name, why=why, kept=str(kept))
        self._delete_oldest()

    def copy(self, path: Path, begin: int, end: int) -> None:
        """Copies the bytes begin..end of a segment; the same ones only once, however often they are read."""
        name = f"{path.name}-{begin:010d}{QUARANTINE_SUFFIX}"
        kept: str | None = name
        try:
            if any(entry.name == name for entry in self._files.entries(self._directory)):
                return
            self._copy(path, begin, end, path.with_name(name))
        except OSError:
            kept = None
        self._damaged.labels(what="frame").inc()
        _log.error("Damaged bytes in a segment of the log were skipped and quarantined.", segment=path.name,
                   position=begin, bytes=end - begin, kept=kept)  # fmt: skip
        self._delete_oldest()

    def _copy(self, source: Path, begin: int, end: int, target: Path) -> None:
        with contextlib.ExitStack() as opened:
            source_fd = self._files.open(source)
            opened.callback(self._files.close, source_fd)
            target_fd = self._files.create(target)
            opened.callback(self._files.close, target_fd)
            for at in range(begin, end, _COPY_BYTES):
                data = self._files.read(source_fd, min(_COPY_BYTES, end - at), at)
                self._files.write(target_fd, [data], at - begin)

    def _free_name(self, name: str) -> str:
        taken: set[str] = set()
        with contextlib.suppress(OSError):
            taken = {entry.name for entry in self._files.entries(self._directory)}
        candidate, n = name + QUARANTINE_SUFFIX, 1
        while candidate in taken:
            candidate, n = f"{name}.{n}{QUARANTINE_SUFFIX}", n + 1
        return candidate

    def _delete_oldest(self) -> None:
        try:
            entries = [
                entry for entry in self._files.entries(self._directory) if entry.name.endswith(QUARANTINE_SUFFIX)
            ]
            entries.sort(key=lambda entry: entry.mtime_ns)
            total = sum(entry.size for entry in entries)
            for entry in entries[:-1]:
                if total <= self._max_bytes:
                    break
                self._files.remove(self._directory / entry.name)
                total -= entry.size
        except OSError as error:
            _log.warning("Old damaged parts of the log could not be deleted.", why=error.strerror)
