"""What the server checks requests against: the keys in force, reloaded with their file, and the cipher of cursors.

In: the keys file. Out: the caller of a key. Errors: Rejected(invalid_api_key); an unreadable file is logged, and the
keys stay as they were. Next: parsec.web.auth.

1. Once there was a key, the process requires one for as long as it lives: also after the last one is revoked, and
   after the file is deleted or emptied.
2. Keys are found by their hash; secrets are neither compared nor kept.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

import msgspec
import structlog

from parsec.core.clock import Clock
from parsec.core.errors import Rejected
from parsec.core.file_watch import WatchedFile
from parsec.keys.file import Content, Entry, KeysUnreadable, read_all
from parsec.keys.key import Caller, hash_of, name_of, rights

_TAG_BYTES = 16
MAX_CHARS = 4096
MAX_LOGGED = 20
"""Keys whose public names a log line shows."""


class CursorCipher:
    """`secret`: from the keys file, so that every process with this file decrypts the cursors of the others.

    A cursor contains an offset of the log, and offsets count the events of all tenants: two cursors would reveal how
    many events other tenants sent. Encryption is deterministic, so equal answers stay equal. The construction is that
    of RFC 5297 (the tag is the nonce), with HMAC-SHA256 as the tag and SHAKE256 as the stream.
    """

    def __init__(self, secret: bytes) -> None:
        self._tag_key = hashlib.sha256(b"parsec seal tag\0" + secret).digest()
        self._stream_key = hashlib.sha256(b"parsec seal stream\0" + secret).digest()

    def encrypt(self, text: str) -> str:
        """The ciphertext: letters, digits, `-` and `_`."""
        plain = text.encode()
        tag = self._tag(plain)
        return base64.urlsafe_b64encode(tag + self._crypt(plain, tag)).rstrip(b"=").decode()

    def decrypt(self, sealed: str) -> str | None:
        """The cursor; None: the text does not come from `encrypt`."""
        try:
            if len(sealed) > MAX_CHARS:
                return None
            whole = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
            plain = self._crypt(whole[_TAG_BYTES:], whole[:_TAG_BYTES])
            return plain.decode() if hmac.compare_digest(self._tag(plain), whole[:_TAG_BYTES]) else None
        except ValueError:
            return None

    def _tag(self, plain: bytes) -> bytes:
        return hmac.digest(self._tag_key, plain, "sha256")[:_TAG_BYTES]

    def _crypt(self, content: bytes, tag: bytes) -> bytes:
        stream = hashlib.shake_256(self._stream_key + tag).digest(len(content))
        return bytes(a ^ b for a, b in zip(content, stream, strict=True))


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
        if self._path is not None and self._watched.changed():
            self.reload()

    def reload(self) -> None:
        """Load the file again."""
        if self._path is None:
            return
        try:
            content = read_all(self._path)
            if content is None and not self.is_open:
                raise KeysUnreadable(f"the keys file {self._path} is gone")
        except KeysUnreadable as error:
            _log.error("The API keys cannot be reloaded and stay as they were.", why=str(error))
            return
        if content is None:
            return
        before = self._valid_names()
        self._replace_keys(content)
        after = self._valid_names()
        new, ended = sorted(after - before)[:MAX_LOGGED], sorted(before - after)[:MAX_LOGGED]
        _log.info("API keys reloaded.", keys=len(self.keys), new=new, ended=ended, file=str(self._path))

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

    def _valid_names(self) -> set[str]:
        return {each.caller.key for each in self.keys.values() if not each.revoked}

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
