"""The mark: one small record, rewritten after every publish, that says how far the log is durable.

In: the end of the log after each sync. Out: at the next start, a lower bound of what must be there. It is not synced,
so after a power cut it may be old; while the machine has not restarted, or after a clean stop, it is exact. With it a
start knows how much is missing when the newest segment was cut or deleted, and where the check of that segment may
begin. It lies in two files, for without it a cut log looks like a whole one; either of them is as good as both, since
nothing is acknowledged before both are written. A mark that does not prove itself is no mark.
Next: parsec.adapters.log.recovery.
"""

import contextlib
import struct
from pathlib import Path

import google_crc32c
import msgspec

from parsec.adapters.log.files import Files
from parsec.adapters.log.segment import UNREADABLE

_BODY = struct.Struct("<8s16s16sQQQQ?7x")
_SUM = struct.Struct("<I")
_MAGIC = b"\xffPLmark1"
_SIZE = _BODY.size + _SUM.size
NO_BOOT = bytes(16)
NAMES = ("mark", "mark.copy")


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """`end`: the next offset; its segment begins at offset `segment` and is sound up to byte `position`.

    `high_water` bounds every offset ever given out when this was written. `clean`: nothing was written after it.
    """

    log_id: str
    boot_id: bytes
    segment: int
    position: int
    end: int
    high_water: int
    clean: bool = False

    def exact(self, boot_id: bytes) -> bool:
        """Whether nothing can have become durable after this mark without being in it."""
        return self.clean or (self.boot_id == boot_id != NO_BOOT)


class CheckpointFile:
    """Keeps the descriptors of both files open. Every call may raise OSError."""

    def __init__(self, files: Files, fds: list[int]) -> None:
        self._files = files
        self._fds = fds

    @classmethod
    def begin(cls, files: Files, directory: Path, first: Checkpoint) -> "CheckpointFile":
        """Writes `first` over what is there, durably, so that an old `clean` cannot come back."""
        file = cls(files, [])
        try:
            # A sound one last: dying in the middle must not take it as well.
            for name in sorted(NAMES, key=lambda name: _is_sound(files, directory / name)):
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

    def write(self, mark: Checkpoint) -> None:
        """Survives the death of this process, not yet a power cut."""
        data = pack(mark)
        for fd in self._fds:
            if self._files.write(fd, [data], 0) != len(data):
                raise OSError("the mark was written in part only")

    def sync(self) -> None:
        for fd in self._fds:
            self._files.sync(fd)

    def close(self) -> None:
        with contextlib.ExitStack() as every:
            for fd in self._fds:
                every.callback(self._files.close, fd)


def pack(mark: Checkpoint) -> bytes:
    body = _BODY.pack(
        _MAGIC,
        bytes.fromhex(mark.log_id),
        mark.boot_id,
        mark.segment,
        mark.position,
        mark.end,
        mark.high_water,
        mark.clean,
    )
    return body + _SUM.pack(google_crc32c.value(body))


def unpack(data: bytes) -> Checkpoint | None:
    """None when the bytes do not prove themselves."""
    if len(data) < _SIZE or _SUM.unpack_from(data, _BODY.size)[0] != google_crc32c.value(data[: _BODY.size]):
        return None
    magic, log_id, *rest = _BODY.unpack_from(data)
    return Checkpoint(log_id.hex(), *rest) if magic == _MAGIC else None


def load(files: Files, directory: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest sound mark, and the files that hold none (damaged, or half written). Raises OSError."""
    found, unsound = [], []
    for name in NAMES:
        try:
            mark = _read(files, directory / name)
        except FileNotFoundError:
            continue
        if mark:
            found.append(mark)
        else:
            unsound.append(name)
    return max(found, key=lambda mark: (mark.end, mark.clean), default=None), unsound


def _is_sound(files: Files, path: Path) -> bool:
    try:
        return _read(files, path) is not None
    except FileNotFoundError:
        return False


def _read(files: Files, path: Path) -> Checkpoint | None:
    """None: the file does not prove itself, or the disk has lost it. Raises OSError for what may pass."""
    try:
        fd = files.open(path)
        try:
            return unpack(files.read(fd, _SIZE, 0))
        finally:
            files.close(fd)
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise
        return None
