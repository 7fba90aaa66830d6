"""Who sends a request: from its headers to a Caller.

In: what `Authorization` and `X-API-Key` say. Out: a Caller. Errors: Rejected, 401, in words that hold nothing of what
was sent.

A key that was good is remembered by a hash of its header until the keys change, so that most requests cost a hash and
a look; what was bad is not remembered, so that nobody fills the memory.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping

from parsec.core.errors import Rejected
from parsec.keys.caller import ANYBODY, NOBODY, Caller
from parsec.keys.cursor_cipher import CursorCipher
from parsec.keys.keyring import Keyring, Known, invalid

Credential = tuple[bytes, bytes]
"""The name of a header and what it says."""

CHALLENGE = (b"www-authenticate", b'Bearer realm="parsec"')
"""The header of an answer with status 401."""

_REMEMBERED = 1024
_LONGEST = 1024


class Authenticator:
    """One for all routes."""

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        self._of_keys: Mapping[str, Known] = ring.keys
        self._remembered: dict[bytes, Known] = {}

    def of(self, credentials: tuple[Credential, ...]) -> Caller:
        """Who it is. Raises Rejected(missing_api_key, invalid_api_key)."""
        ring = self._ring
        if ring.open:
            return ANYBODY
        if len(credentials) != 1:
            return self._found(credentials).caller
        if ring.keys is not self._of_keys:
            self._of_keys = ring.keys
            self._remembered.clear()
        name, value = credentials[0]
        if len(value) > _LONGEST:
            raise invalid("This is not an API key: it is too long.")
        digest = hashlib.sha256(name + b"\0" + value).digest()
        known = self._remembered.get(digest)
        if known is not None:
            ring.still(known)
            return known.caller
        known = self._found(credentials)
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = known
        return known.caller

    @property
    def seal(self) -> CursorCipher | None:
        """For cursors; None where no keys are asked for."""
        return self._ring.seal

    def still(self, credentials: tuple[Credential, ...]) -> bool:
        """Whether who got in once would get in again; for answers that last."""
        try:
            self.of(credentials)
        except Rejected:
            return False
        return True

    def if_any(self, credentials: tuple[Credential, ...]) -> Caller:
        """The same where no key is needed: nobody in particular instead of an error."""
        try:
            return self.of(credentials)
        except Rejected:
            return NOBODY

    def _found(self, credentials: tuple[Credential, ...]) -> Known:
        if not credentials:
            message = "This takes an API key: Authorization: Bearer parsec_..., or X-API-Key: parsec_..."
            raise Rejected("missing_api_key", message, status=401)
        keys = {_key(name, value) for name, value in credentials}
        if len(keys) > 1:
            raise invalid("The headers hold two different API keys; send one.")
        return self._ring.known(keys.pop())


def credentials_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[Credential, ...]:
    """From headers with names in lower case."""
    return tuple((name, value) for name, value in headers if name == b"authorization" or name == b"x-api-key")


def _key(header: bytes, value: bytes) -> str:
    if len(value) > _LONGEST:
        raise invalid("This is not an API key: it is too long.")
    text = value.decode("latin-1").strip()
    if header == b"authorization":
        scheme, _, rest = text.partition(" ")
        if scheme.lower() == "basic":
            text = _password(rest.strip())
        elif scheme.lower() == "bearer":
            text = rest.strip()
        else:
            raise invalid("Authorization must be Bearer, or Basic with the API key as the password.")
    return text


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("latin-1").partition(":")[2].strip()
    except (binascii.Error, ValueError):
        raise invalid("Authorization: Basic is not followed by base64.") from None
