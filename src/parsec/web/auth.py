"""Authenticate requests: from the headers `Authorization` and `X-API-Key` to a Caller.

In: credentials. Out: a Caller. Errors: Rejected with status 401 and a message without any part of the key.
Next: parsec.web.app.

Valid credentials are cached by their hash until the keys change, so that most requests cost one hash and one lookup;
invalid ones are not cached, so that a client cannot fill the memory.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping

from parsec.core.errors import Rejected
from parsec.core.loopback import is_loopback
from parsec.keys.key import ANONYMOUS, ANYONE, Caller, Right
from parsec.keys.keyring import ActiveKey, CursorCipher, Keyring, invalid_key

Credential = tuple[bytes, bytes]
"""Name and value of a header."""

CHALLENGE = (b"www-authenticate", b'Bearer realm="parsec"')
"""Header of answers with status 401."""

_CACHED = 1024
_MAX_BYTES = 1024


class Authenticator:
    """One for all routes. `warns`: PARSEC_AUTH=warn, which still serves requests of this machine without a key."""

    def __init__(self, ring: Keyring, *, warns: bool = False) -> None:
        self.ring = ring
        self._warns = warns
        self._of_keys: Mapping[str, ActiveKey] = ring.keys
        self._cache: dict[bytes, ActiveKey] = {}

    def serves_keyless(self, credentials: tuple[Credential, ...], address: str) -> bool:
        """Whether a request from this address needs no key. One that shows a key is checked, once there are any."""
        return self.ring.is_open or (self._warns and not credentials and is_loopback(address))

    def authenticate(
        self, credentials: tuple[Credential, ...], right: Right | None = None, address: str = ""
    ) -> Caller:
        """The caller, who has the right. Raises Rejected(missing_api_key, invalid_api_key, missing_scope)."""
        if self.serves_keyless(credentials, address):
            return ANYONE
        caller = self._caller(credentials)
        if right is not None:
            caller.require(right)
        return caller

    def _caller(self, credentials: tuple[Credential, ...]) -> Caller:
        ring = self.ring
        if len(credentials) != 1:
            return self._found(credentials).caller
        if ring.keys is not self._of_keys:
            self._of_keys = ring.keys
            self._cache.clear()
        name, value = credentials[0]
        digest = hashlib.sha256(name + b"\0" + value).digest()
        known = self._cache.get(digest)
        if known is not None:
            ring.require_unexpired(known)
            return known.caller
        known = self._found(credentials)
        if len(self._cache) >= _CACHED:
            self._cache.clear()
        self._cache[digest] = known
        return known.caller

    @property
    def cursor_cipher(self) -> CursorCipher | None:
        """For cursors; None without keys."""
        return self.ring.cursor_cipher

    def is_still_valid(self, credentials: tuple[Credential, ...], address: str) -> bool:
        """Whether the credentials are still valid, for long answers."""
        try:
            self.authenticate(credentials, None, address)
        except Rejected:
            return False
        return True

    def authenticate_optional(
        self, credentials: tuple[Credential, ...], right: Right | None = None, address: str = ""
    ) -> Caller:
        """For routes that need no key: ANONYMOUS instead of an error."""
        try:
            return self.authenticate(credentials, right, address)
        except Rejected:
            return ANONYMOUS

    def _found(self, credentials: tuple[Credential, ...]) -> ActiveKey:
        if not credentials:
            message = "This needs an API key: send Authorization: Bearer parsec_..., or X-API-Key: parsec_..."
            raise Rejected("missing_api_key", message, status=401)
        keys = {_key(name, value) for name, value in credentials}
        if len(keys) > 1:
            raise invalid_key("The request has two different API keys. Send one.")
        return self.ring.find(keys.pop())


def credentials_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Credential, ...]:
    """From headers with names in lower case."""
    return tuple((name, value) for name, value in headers if name == b"authorization" or name == b"x-api-key")


def _key(header: bytes, value: bytes) -> str:
    if len(value) > _MAX_BYTES:
        raise invalid_key("This is not a valid API key: it is too long.")
    text = value.decode("latin-1").strip()
    if header == b"authorization":
        scheme, _, rest = text.partition(" ")
        if scheme.lower() == "basic":
            text = _password(rest.strip())
        elif scheme.lower() == "bearer":
            text = rest.strip()
        else:
            raise invalid_key("Use Authorization: Bearer, or Basic with the API key as the password.")
    return text


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("latin-1").partition(":")[2].strip()
    except (binascii.Error, ValueError):
        raise invalid_key("The value after Authorization: Basic is not base64.") from None
