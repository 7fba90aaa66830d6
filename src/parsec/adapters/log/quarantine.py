"""Damaged parts of the log, set aside as `*.corrupt` beside the segments, for a person to look into.

In: a bad segment, or a stretch of one. Out: a file, a log line, a count; never an error, for the log goes on without.
Their total is bounded: the oldest go first. Next: nothing; `parsec log` and people read them.
"""

import contextlib
from pathlib import Path

import structlog

from parsec.adapters.log.files import Files
from parsec.telemetry import Telemetry

SUFFIX = ".corrupt"
_COPY_BYTES = 1 << 20

_log = structlog.get_logger(__name__)


class Quarantine:
    """`max_bytes` bounds what is kept; the newest file stays in any case."""

    def __init__(self, files: Files, directory: Path, max_bytes: int, telemetry: Telemetry) -> None:
        self._files = files
        self._directory = directory
        self._max_bytes = max_bytes
        self._damaged = telemetry.log_damaged

    def gap(self, reader: str, first: int, end: int) -> None:
        """Offsets first..end-1 hold nothing any more, as a reader just found."""
        self._damaged.labels(what="gap").inc()
        _log.error("Events of the log are lost.", reader=reader, from_offset=first, to_offset=end)

    def missing(self, path: Path, why: str) -> None:
        """A segment of which nothing is left to set aside."""
        self._damaged.labels(what="segment").inc()
        _log.error("A segment of the log is missing; its events are lost.", segment=path.name, why=why)

    def segment(self, path: Path, why: str) -> None:
        """Renames a whole segment."""
        self._damaged.labels(what="segment").inc()
        target = path.with_name(self._free_name(path.name))
        kept: Path | None = None
        with contextlib.suppress(OSError):
            self._files.rename(path, target)
            self._files.sync_directory(self._directory)
            kept = target
        _log.error("A segment of the log is damaged and was set aside.", segment=path.name, why=why, kept=str(kept))
        self._bound()

    def stretch(self, path: Path, begin: int, end: int) -> None:
        """Copies the bytes begin..end of a segment; the same stretch only once, however often it is read."""
        name = f"{path.name}-{begin:010d}{SUFFIX}"
        kept: str | None = name
        try:
            if any(entry.name == name for entry in self._files.entries(self._directory)):
                return
            self._copy(path, begin, end, path.with_name(name))
        except OSError:
            kept = None
        self._damaged.labels(what="frame").inc()
        _log.error(
            "Damaged bytes in a segment of the log were skipped and set aside.",
            segment=path.name,
            position=begin,
            bytes=end - begin,
            kept=kept,
        )
        self._bound()

    def _copy(self, source: Path, begin: int, end: int, target: Path) -> None:
        source_fd = self._files.open(source)
        try:
            target_fd = self._files.create(target)
            try:
                for at in range(begin, end, _COPY_BYTES):
                    data = self._files.read(source_fd, min(_COPY_BYTES, end - at), at)
                    self._files.write(target_fd, [data], at - begin)
            finally:
                self._files.close(target_fd)
        finally:
            self._files.close(source_fd)

    def _free_name(self, name: str) -> str:
        taken: set[str] = set()
        with contextlib.suppress(OSError):
            taken = {entry.name for entry in self._files.entries(self._directory)}
        candidate, n = name + SUFFIX, 1
        while candidate in taken:
            candidate, n = f"{name}.{n}{SUFFIX}", n + 1
        return candidate

    def _bound(self) -> None:
        try:
            entries = [entry for entry in self._files.entries(self._directory) if entry.name.endswith(SUFFIX)]
            entries.sort(key=lambda entry: entry.mtime_ns)
            total = sum(entry.size for entry in entries)
            for entry in entries[:-1]:
                if total <= self._max_bytes:
                    break
                self._files.remove(self._directory / entry.name)
                total -= entry.size
        except OSError as error:
            _log.warning("Old damaged parts of the log could not be removed.", why=error.strerror)
