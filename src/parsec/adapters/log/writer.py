"""Writes to the active segment: the frames of one publish with one call, made durable with one sync.

In: groups. Out: the durable end is behind them; or Retryable, and none of them is visible. Keeps invariants I1 to I4 of
parsec.adapters.log.embedded. Called by one thread at a time. Next: parsec.adapters.log.reader.

The checkpoint is a small record of the log's durable end, rewritten after every publish and read at the next start. It
is not synced, so after a power cut it may be old; it is exact while the machine has not restarted, or after a clean
stop. A start learns from it how much is missing when the newest segment was cut or deleted, and from where that segment
has to be checked. It is kept in two files, since without it a log that was cut looks whole. Either file is enough:
nothing is acknowledged before both are written. A checkpoint with a wrong checksum is ignored.
"""

import contextlib
import struct
from collections.abc import Sequence
from os.path import samestat
from pathlib import Path

import google_crc32c
import msgspec
import structlog

from parsec.adapters.log import frame, segment
from parsec.adapters.log.files import MOST_BUFFERS, READ_ERRORS, Files
from parsec.adapters.log.index import LogContext
from parsec.adapters.log.segment import Segment
from parsec.adapters.log.state import SavedLog
from parsec.core.boot import UNKNOWN
from parsec.core.clock import Clock
from parsec.core.errors import Retryable
from parsec.core.held_directory import GONE
from parsec.ports.broker import Group

_BODY = struct.Struct("<8s16s16sQQQQ?7x")
_SUM = struct.Struct("<I")
_MAGIC = b"\xffPLmark1"
_SIZE = _BODY.size + _SUM.size
NAMES = ("mark", "mark.copy")
"""Names and magic are those of the first release, so that every release opens the same directories."""

PROBE = "probe" + segment.NEW_SUFFIX
"""In the directory of segments; one that a crash leaves is deleted at the next start, like an unfinished segment."""
_PROBE_BYTES = 4096
BLOCK = 1 << 19
"""Offsets reserved ahead with one commit of the state."""

_log = structlog.get_logger(__name__)


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """`end`: the next offset. Its segment begins at offset `segment` and is valid up to byte `position`.

    `high_water`: above every offset assigned until then. `clean`: nothing was written after it.
    """

    log_id: str
    boot_id: bytes
    segment: int
    position: int
    end: int
    high_water: int
    clean: bool = False

    def is_exact(self, boot_id: bytes) -> bool:
        """Whether nothing can have become durable after this checkpoint without being in it."""
        return self.clean or (self.boot_id == boot_id != UNKNOWN)


class CheckpointFile:
    """Keeps both files open. Every call may raise OSError."""

    def __init__(self, files: Files, fds: list[int]) -> None:
        self._files = files
        self._fds = fds

    @classmethod
    def create(cls, files: Files, directory: Path, first: Checkpoint) -> "CheckpointFile":
        """Writes `first` durably over both files, so that an old `clean` cannot reappear."""
        file = cls(files, [])
        try:
            # A valid file last, so that a crash in between does not damage it as well.
            found = _read_all(files, directory)
            for name in sorted(NAMES, key=lambda name: found.get(name) is not None):
                try:
                    file._fds.append(files.open(directory / name, write=True))
                except FileNotFoundError:
                    file._fds.append(files.create(directory / name))
            file.write(first)
            file.sync()
            files.sync_directory(directory)
        except BaseException:
            file.close()
            raise
        return file

    def write(self, checkpoint: Checkpoint) -> None:
        """Survives the death of this process, but not a power cut."""
        data = pack(checkpoint)
        for fd in self._fds:
            if self._files.write(fd, [data], 0) != len(data):
                raise OSError("the checkpoint was written only in part")

    def sync(self) -> None:
        for fd in self._fds:
            self._files.sync(fd)

    def close(self) -> None:
        with contextlib.ExitStack() as every:
            for fd in self._fds:
                every.callback(self._files.close, fd)


def pack(checkpoint: Checkpoint) -> bytes:
    log_id, *rest = msgspec.structs.astuple(checkpoint)
    body = _BODY.pack(_MAGIC, bytes.fromhex(log_id), *rest)
    return body + _SUM.pack(google_crc32c.value(body))


def unpack(data: bytes) -> Checkpoint | None:
    """None when the checksum is wrong."""
    if len(data) < _SIZE or _SUM.unpack_from(data, _BODY.size)[0] != google_crc32c.value(data[: _BODY.size]):
        return None
    magic, log_id, *rest = _BODY.unpack_from(data)
    return Checkpoint(log_id.hex(), *rest) if magic == _MAGIC else None


def load(files: Files, directory: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest valid checkpoint, and the files without one (damaged, or half written). Raises OSError."""
    found = _read_all(files, directory)
    valid = [checkpoint for checkpoint in found.values() if checkpoint]
    newest = max(valid, key=lambda each: (each.end, each.clean), default=None)
    return newest, [name for name, checkpoint in found.items() if checkpoint is None]


def _read_all(files: Files, directory: Path) -> dict[str, Checkpoint | None]:
    """The content of each file there is; None: damaged, or lost by the disk. Raises OSError for a temporary error."""
    found: dict[str, Checkpoint | None] = {}
    for name in NAMES:
        try:
            fd = files.open(directory / name)
            try:
                found[name] = unpack(files.read(fd, _SIZE, 0))
            finally:
                files.close(fd)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in READ_ERRORS:
                raise
            found[name] = None
    return found


class SegmentWriter:
    """Owns the descriptor of the active segment, if there is one, and the checkpoint."""

    def __init__(self, context: LogContext, segment_bytes: int, high_water: int, clock: Clock) -> None:
        self._context = context
        self._segment_bytes = segment_bytes
        self._high_water = high_water
        self._clock = clock
        self._seed = frame.checksum_seed(context.log_id)
        self._boot_id = context.files.boot_id()
        self._active: Segment | None = None
        self._fd = -1
        self._checkpoint_file: CheckpointFile | None = None
        self._in_doubt: Segment | None = None

    def resume(self, newest: Segment) -> None:
        """Continues a segment that recovery found valid up to its last byte. Raises OSError."""
        if newest.size < self._segment_bytes:
            self._fd = self._context.files.open(newest.path, write=True)
            self._active = newest

    def roll(self) -> Segment:
        """Seals the active segment and starts the next one, at the durable end. Raises Retryable."""
        self._require_directory()
        self._close_segment()
        context, first = self._context, self._context.index.end
        if self._in_doubt is not None:
            # The truncation may not have reached the disk: only this hides what is behind it for good (I3).
            context.state.save_cut(self._in_doubt.first, self._in_doubt.size)
            self._in_doubt = None
        try:
            fd = segment.create(context.files, context.directory, context.log_id, first)
        except OSError as error:
            why = f"a segment of the log cannot be created in {context.directory}: {error.strerror or error}"
            raise Retryable(why) from error
        try:
            # Before the state knows of the log: without a checkpoint a start would take its end for missing.
            self.open_checkpoint()
            # Before any event is in it: a start must know when this segment is missing (I2).
            self._save_state(first, first + BLOCK)
        except BaseException:
            context.files.close(fd)
            raise
        self._fd = fd
        path = context.directory / segment.file_name(first)
        self._active = Segment(first, path, segment.SEGMENT_HEADER_BYTES, self._clock.time_ns())
        context.index.add(self._active, self._clock.time_ns())
        return self._active

    def open_checkpoint(self) -> CheckpointFile:
        """Called before the first publish of this process. Raises Retryable."""
        if self._checkpoint_file is None:
            self._require_directory()
            files, directory = self._context.files, self._context.directory.parent
            try:
                self._checkpoint_file = CheckpointFile.create(files, directory, self._checkpoint(clean=False))
            except OSError as error:
                raise Retryable(f"the log's checkpoint cannot be written: {error.strerror or error}") from error
        return self._checkpoint_file

    def save_start(self) -> None:
        """Saves to the state where this process began, unless the disk is full."""
        index = self._context.index
        with contextlib.suppress(Retryable):
            self._save_state(index.newest.first if index.newest else index.end, index.end + BLOCK)

    def append(self, groups: Sequence[Group]) -> int:
        """Returns the bytes written once all groups are durable. Raises Retryable."""
        index = self._context.index
        checkpoint_file = self._checkpoint_file or self.open_checkpoint()
        self._leave_deleted()
        active = self._active
        if active is None or active.size >= self._segment_bytes:
            active = self.roll()
        buffers: list[bytes] = []
        began = end = index.end
        size = 0
        for group in groups:
            count, lines = len(group.events), group.lines
            buffers += (frame.pack_header(self._seed, began, end, count, lines), lines)
            end += count
            size += frame.FRAME_HEADER_BYTES + len(lines)
        if end > self._high_water:
            self._save_state(active.first, end + BLOCK)
        self._write(active, buffers, size)
        position = active.size + size
        try:
            checkpoint_file.write(
                Checkpoint(self._context.log_id, self._boot_id, active.first, position, end, self._high_water)
            )
            index.advance(active, position, end)
        except OSError:
            # Half written, or whole: the events stay, and nothing is acknowledged before it is rewritten (I2).
            index.advance(active, position, end)
            self._close_checkpoint()
            self.open_checkpoint()
        return size

    def probe(self) -> None:
        """Writes as a publish does, but no event: a segment, or a file that is removed again. Raises Retryable."""
        self._leave_deleted()
        if self._active is None:
            self.roll()
            return
        files, place = self._context.files, self._context.directory
        try:
            fd = files.create(place / PROBE)
            try:
                if files.write(fd, [bytes(_PROBE_BYTES)], 0) != _PROBE_BYTES:
                    raise OSError("the disk accepted only a part of the bytes")
                files.sync(fd)
            finally:
                files.close(fd)
            files.remove(place / PROBE)
            self.open_checkpoint().write(self._checkpoint(clean=False))
        except OSError as error:
            raise Retryable(f"the log in {place} cannot be written: {error.strerror or error}") from error

    def close(self) -> None:
        """Leaves a clean checkpoint if the disk allows it, and the end in the state in case that one is lost."""
        with contextlib.suppress(OSError, Retryable):
            file = self.open_checkpoint()
            file.write(self._checkpoint(clean=True))
            file.sync()
            self._context.state.save_end(self._context.index.end)
        self._close_checkpoint()
        self._close_segment()

    def _leave_deleted(self) -> None:
        """Leaves a segment that was deleted or moved away: no start would find events in it. Raises Retryable."""
        active = self._active
        if active is not None and not self._is_in_place(active):
            _log.error("The newest segment of the log was deleted or moved away. A new one is begun; what was not read "
                       "of the old one may be lost.", segment=str(active.path))  # fmt: skip
            self._close_segment()

    def _is_in_place(self, active: Segment) -> bool:
        """Whether the open file is still at its path. Raises Retryable once the directory is not (I9)."""
        status = self._context.files.status
        with contextlib.suppress(OSError):
            if samestat(status(active.path), status(self._fd)):
                return True
        self._require_directory()
        return False

    def _write(self, active: Segment, buffers: Sequence[bytes], size: int) -> None:
        """Writes and syncs. Raises Retryable when the outcome is unknown."""
        if len(buffers) > MOST_BUFFERS:
            buffers = [b"".join(buffers)]
        try:
            if self._context.files.write(self._fd, buffers, active.size) != size:
                raise OSError("the disk accepted only a part of the bytes")
            self._context.files.sync(self._fd)
            if not self._is_in_place(active):  # a deleted file can be written and synced, too
                raise Retryable(f"the segment {active.path.name} was deleted or moved away")
        except BaseException as error:
            self._abandon(active)
            if isinstance(error, OSError):
                raise Retryable(f"the log cannot be written: {error.strerror or error}") from error
            raise

    def _require_directory(self) -> None:
        """Raises Retryable once the directory is not at its path any more (I9)."""
        if self._context.held.why_gone() is not None:
            raise Retryable(GONE)

    def _abandon(self, active: Segment) -> None:
        """After a write or sync of unknown outcome (I3): no later sync of this file could be trusted."""
        with contextlib.suppress(OSError):
            self._context.files.truncate(self._fd, active.size)
        if active.size > segment.SEGMENT_HEADER_BYTES:
            self._in_doubt = active
        self._close_segment()

    def _close_checkpoint(self) -> None:
        """The next publish starts with a new file: this one may be half written."""
        with contextlib.suppress(OSError):
            if self._checkpoint_file:
                self._checkpoint_file.close()
        self._checkpoint_file = None

    def _checkpoint(self, *, clean: bool) -> Checkpoint:
        log_id, index = self._context.log_id, self._context.index
        newest = index.newest
        first, size = (newest.first, newest.size) if newest else (index.end, segment.SEGMENT_HEADER_BYTES)
        return Checkpoint(log_id, self._boot_id, first, size, index.end, self._high_water, clean)

    def _save_state(self, first: int, high_water: int) -> None:
        high_water = max(high_water, self._high_water)
        self._context.state.save(SavedLog(self._context.log_id, high_water, first, self._context.index.end))
        self._high_water = high_water

    def _close_segment(self) -> None:
        if self._active is not None:
            with contextlib.suppress(OSError):
                self._context.files.close(self._fd)
        self._active, self._fd = None, -1
