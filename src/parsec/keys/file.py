"""The keys file: TOML with one `[[key]]` per API key, which contains only the key's hash.

In: a path. Out: entries, or a changed file, replaced as a whole under a lock. Errors: KeysUnreadable with the reason.
Revoked keys stay as entries, so that a file whose keys are all revoked differs from one that never had any.
Next: parsec.keys.keyring.
"""

import fcntl
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from parsec.api.event_rules import tenant_name
from parsec.core.clock import Random, SystemRandom
from parsec.core.errors import ParsecError
from parsec.keys.key import rights

MAX_FILE_BYTES = 16 << 20
_RANDOM = SystemRandom()

_HEAD = """\
# API keys of Parsec, written by `parsec keys`. It contains hashes; a key itself is shown only when it is created.
# Every Parsec that uses this file reloads it within a second of a change.

# Encrypts the cursors that clients hold. Use the same secret wherever the keys are the same.
secret = "{}"
"""


class KeysUnreadable(ParsecError):
    """The file exists, but cannot be read, written or understood."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key. `id`: its public name. `hash`: its SHA-256. Times have a UTC offset."""

    id: str
    hash: str
    scopes: tuple[str, ...]
    tenant: str | None = None
    name: str = ""
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None

    def __post_init__(self) -> None:
        """Raises ValueError."""
        rights(self.scopes)
        if len(self.hash) != 64 or not set(self.hash) <= set("0123456789abcdef"):
            raise ValueError("hash must be a SHA-256 in lower-case hexadecimal")
        if self.tenant is None and "admin" not in self.scopes:
            raise ValueError("a key without a tenant needs the scope admin")
        if self.tenant is not None and tenant_name(self.tenant) != self.tenant:
            raise ValueError(f"tenant {self.tenant!r} is not a valid tenant name")
        if any(time is not None and time.tzinfo is None for time in (self.created, self.expires, self.revoked)):
            raise ValueError("a time has no offset; write it as 2030-01-01T00:00:00Z")


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. `secret`, in hexadecimal: see parsec.keys.keyring; '' in a handwritten file."""

    key: tuple[Entry, ...] = ()
    secret: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError."""
        bytes.fromhex(self.secret)


def read(path: Path) -> tuple[Entry, ...] | None:
    """All entries; None: no file. Raises KeysUnreadable."""
    content = read_all(path)
    return None if content is None else content.key


def read_all(path: Path) -> Content | None:
    """The whole file; None: no file. Raises KeysUnreadable."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ValueError("it is larger than 16 MiB")
        found = msgspec.convert(tomllib.loads(content.decode()), Content)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeysUnreadable(f"the keys file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, not TOML, not entries
        raise KeysUnreadable(f"the keys file {path} is damaged: {error}") from error
    if any(len({getattr(entry, name) for entry in found.key}) < len(found.key) for name in ("id", "hash")):
        raise KeysUnreadable(f"the keys file {path} is damaged: it contains a key twice")
    return found


def change(path: Path, edit: Callable[[Sequence[Entry]], Sequence[Entry]], random: Random = _RANDOM) -> None:
    """Replace the entries of the file by the result of `edit`; a missing file is created.

    Raises KeysUnreadable, and what `edit` raises; the file is then unchanged.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            content = read_all(path) or Content()
            _replace(path, Content(tuple(edit(content.key)), content.secret or random.bytes(32).hex()))
    except OSError as error:
        raise KeysUnreadable(f"the keys file {path} cannot be written: {error.strerror}") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _hand_over(fd, path)
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _replace(path: Path, content: Content) -> None:
    """A reader sees the old file or the new one, even after a power cut."""
    target = path.resolve()  # a link stays one
    new = target.with_name(f"{target.name}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, 0o600)
        _hand_over(fd, target)
        file.write((_HEAD.format(content.secret) + "".join(map(_written, content.key))).encode())
        file.flush()
        os.fsync(fd)
    new.replace(target)
    directory = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _hand_over(fd: int, path: Path) -> None:
    """Give what root writes to the owner of the file or its directory: the user that Parsec runs as."""
    if os.geteuid() == 0:
        owner = (path if path.exists() else path.parent).stat()
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _written(entry: Entry) -> str:
    lines = ["", "[[key]]"]
    for name, value in msgspec.structs.asdict(entry).items():
        if isinstance(value, datetime):
            lines.append(f"{name} = {value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
        elif value:
            # JSON's strings and lists are TOML's, too; names are printable, see parsec.keys.issue.
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
