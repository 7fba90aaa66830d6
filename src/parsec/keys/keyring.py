"""The API keys in force: those of the keys file, reloaded when it changes.

In: the keys file. Out: the caller of a key. Errors: Rejected(invalid_api_key); an unreadable file is logged, and the
keys stay as they were. Next: parsec.web.auth.

1. Once there was a key, the process requires one for as long as it lives: also after the last one is revoked, and
   after the file is deleted or emptied.
2. Keys are found by their hash; secrets are neither compared nor kept.
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


class ActiveKey(msgspec.Struct, frozen=True):
    """A key of the file. `expires_ns`: nanoseconds since 1970; None: never."""

    hash: str
    caller: Caller
    expires_ns: int | None
    revoked: bool


class Keyring:
    """Used on the event loop. `keys` is a new object after each change. `path` None: no key is ever required."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        """Raises KeysUnreadable: a process must not start without the keys that it should require."""
        self._path = path
        self._clock = clock
        self.keys: Mapping[str, ActiveKey] = {}
        self.is_open = True
        """Whether requests need no key."""
        self.cursor_cipher: CursorCipher | None = None
        """For cursors; None without keys."""
        if path is not None:
            self._watched = WatchedFile(path)
            self._replace_keys(read_all(path))

    def reload_if_changed(self) -> None:
        """Load the file again if it has changed."""
        if self._path is None or not self._watched.changed():
            return
        try:
            content = read_all(self._path)
        except KeysUnreadable as error:
            _log.error("The API keys cannot be reloaded and stay as they were.", why=str(error))
            return
        if content is None:
            if not self.is_open:
                _log.error(
                    "The API keys cannot be reloaded and stay as they were.", why=f"the keys file {self._path} is gone"
                )
            return
        self._replace_keys(content)
        _log.info("API keys reloaded.", keys=len(self.keys), file=str(self._path))

    def find(self, key: str) -> ActiveKey:
        """The valid key with this text. Raises Rejected."""
        if name_of(key) is None:
            raise invalid_key("This is not a valid API key: it is truncated or mistyped.")
        hashed = hash_of(key)
        found = self.keys.get(hashed)
        if found is None or not hmac.compare_digest(found.hash, hashed) or found.revoked:
            raise invalid_key("This API key is unknown or revoked.")
        self.require_unexpired(found)
        return found

    def require_unexpired(self, key: ActiveKey) -> None:
        """Raises Rejected once the key has expired."""
        if key.expires_ns is not None and self._clock.time_ns() >= key.expires_ns:
            raise invalid_key("This API key has expired. Create a new one with `parsec keys create`.")

    def _replace_keys(self, content: Content | None) -> None:
        content = content or Content()
        self.keys = {entry.hash: _active_key(entry) for entry in content.key}
        self.cursor_cipher = CursorCipher(bytes.fromhex(content.secret)) if content.secret else None
        self.is_open = self.is_open and not self.keys


def invalid_key(message: str) -> Rejected:
    """401, with a message that must not contain the key."""
    return Rejected("invalid_api_key", message, status=401)


def _active_key(entry: Entry) -> ActiveKey:
    caller = Caller(rights(entry.scopes), entry.tenant, entry.id)
    expires_ns = None if entry.expires is None else int(entry.expires.timestamp()) * 1_000_000_000
    return ActiveKey(entry.hash, caller, expires_ns, entry.revoked is not None)
