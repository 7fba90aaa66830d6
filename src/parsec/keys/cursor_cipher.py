"""Texts that Parsec hands out and takes back, unreadable and unchangeable for whoever holds them in between.

In: a cursor. Out: the cursor sealed, or opened again. Errors: None for what this secret did not seal.

A cursor holds an offset of the log, and offsets count the events of all tenants: from two cursors one could tell how
many events others have sent. The same text gives the same sealed one, so nothing is drawn and answers can be compared.
The construction is that of RFC 5297 (the tag is the nonce), with HMAC-SHA256 as the tag and SHAKE256 as the stream.
"""

import base64
import hashlib
import hmac

_TAG_BYTES = 16
_LONGEST = 4096


class CursorCipher:
    """`secret`: from the file of keys, so that every process with this file opens what another sealed."""

    def __init__(self, secret: bytes) -> None:
        self._tag_key = hashlib.sha256(b"parsec seal tag\0" + secret).digest()
        self._stream_key = hashlib.sha256(b"parsec seal stream\0" + secret).digest()

    def shut(self, text: str) -> str:
        """Letters, digits, `-` and `_`."""
        plain = text.encode()
        tag = self._tag(plain)
        return base64.urlsafe_b64encode(tag + self._crypt(plain, tag)).rstrip(b"=").decode()

    def opened(self, sealed: str) -> str | None:
        """None: nothing that `shut` gave."""
        try:
            if len(sealed) > _LONGEST:
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
