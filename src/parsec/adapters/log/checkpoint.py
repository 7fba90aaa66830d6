"""The checkpoint of the log: a small record of its durable end, rewritten after every publish.

In: the end of the log after each sync. Out: at the next start, a lower bound of that end. Errors: OSError. Next:
parsec.adapters.log.recovery.

It is not synced, so after a power cut it may be old; it is exact while the machine has not restarted, or after a clean
stop. A start learns from it how much is missing when the newest segment was cut or deleted, and from where that segment
has to be checked. It is kept in two files, since without it a log that was cut looks whole. Either file is enough:
nothing is acknowledged before both are written. A checkpoint with a wrong checksum is ignored.
"""

import contextlib
import struct
from pathlib import Path

import google_crc32c
import msgspec

from parsec.adapters.log.files import Files
from parsec.adapters.log.segment import READ_ERRORS

_BODY = struct.Struct("<8s16s16sQQQQ?7x")
_SUM = struct.Struct("<I")
_MAGIC = b"\xffPLmark1"
_SIZE = _BODY.size + _SUM.size
NO_BOOT = bytes(16)
NAMES = ("mark", "mark.copy")
"""Names and magic are those of the first release, so that every release opens the same directories."""


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
        return self.clean or (self.boot_id == boot_id != NO_BOOT)


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
                raise OSError("the checkpoint was written in part only")

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
