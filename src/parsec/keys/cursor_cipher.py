"""Encrypt the cursors that clients hold, so that they can be neither read nor changed.

In: a cursor. Out: its ciphertext, or the cursor again. Errors: None for a text that was not encrypted with this secret.

A cursor contains an offset of the log, and offsets count the events of all tenants: two cursors would reveal how many
events other tenants sent. Encryption is deterministic, so equal answers stay equal. The construction is that of
RFC 5297 (the tag is the nonce), with HMAC-SHA256 as the tag and SHAKE256 as the stream.
"""

import base64
import hashlib
import hmac

_TAG_BYTES = 16
MAX_CHARS = 4096


class CursorCipher:
    """`secret`: from the keys file, so that every process with this file decrypts the cursors of the others."""

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
