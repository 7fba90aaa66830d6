"""The keys that count now: those of the file, read again when it changes.

In: a file that others replace. Out: who stands behind a key. Errors: Rejected(invalid_api_key); a file that cannot be
read leaves the keys as they were.

1. Once there was a key, nobody gets in without one for as long as the process lives: not when the last one is revoked,
   and not when the file is deleted or emptied.
2. Keys are found by their hash; no secret is compared with another, or kept.
"""

import hmac
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from parsec.core.clock import Clock
from parsec.core.errors import Rejected
from parsec.core.file_watch import WatchedFile
from parsec.keys.caller import Caller, rights
from parsec.keys.cursor_cipher import CursorCipher
from parsec.keys.file import Content, Entry, KeysUnreadable, read_all
from parsec.keys.key import hash_of, name_of

_log = structlog.get_logger(__name__)


class Known(msgspec.Struct, frozen=True):
    """A key of the file. `expires_ns`: since 1970; None: never."""

    hash: str
    caller: Caller
    expires_ns: int | None
    revoked: bool


class Keyring:
    """Used on the event loop. `keys` is another object after each change. `path` None: keys do not matter here."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        """Raises KeysUnreadable: a process must not start without the keys that it should ask for."""
        self._path = path
        self._clock = clock
        self.keys: Mapping[str, Known] = {}
        self.open = True
        """Whether no key is asked for."""
        self.seal: CursorCipher | None = None
        """For what callers hold; None: they are all the same one."""
        if path is not None:
            self._watched = WatchedFile(path)
            self._take(read_all(path))

    def look(self) -> None:
        """Reads the file again if it has changed."""
        if self._path is None or not self._watched.changed():
            return
        try:
            content = read_all(self._path)
        except KeysUnreadable as error:
            _log.error("The keys stay as they were.", why=str(error))
            return
        if content is None:
            if not self.open:
                _log.error("The keys stay as they were.", why=f"the file of keys {self._path} is gone")
            return
        self._take(content)
        _log.info("Keys taken over.", keys=len(self.keys), file=str(self._path))

    def known(self, key: str) -> Known:
        """A key that is to be accepted now. Raises Rejected."""
        if name_of(key) is None:
            raise invalid("This is not an API key: it is cut off or mistyped.")
        hashed = hash_of(key)
        found = self.keys.get(hashed)
        if found is None or not hmac.compare_digest(found.hash, hashed) or found.revoked:
            raise invalid("This API key does not exist, or was revoked.")
        self.still(found)
        return found

    def still(self, known: Known) -> None:
        """Raises Rejected once the key has expired."""
        if known.expires_ns is not None and self._clock.time_ns() >= known.expires_ns:
            raise invalid("This API key has expired.")

    def _take(self, content: Content | None) -> None:
        content = content or Content()
        self.keys = {entry.hash: _known(entry) for entry in content.key}
        self.seal = CursorCipher(bytes.fromhex(content.secret)) if content.secret else None
        self.open = self.open and not self.keys


def invalid(message: str) -> Rejected:
    """What a caller without a good key is told."""
    return Rejected("invalid_api_key", message, status=401)


def _known(entry: Entry) -> Known:
    caller = Caller(rights(entry.scopes), entry.tenant, entry.id)
    expires_ns = None if entry.expires is None else int(entry.expires.timestamp()) * 1_000_000_000
    return Known(entry.hash, caller, expires_ns, entry.revoked is not None)
