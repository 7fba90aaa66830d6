"""The form of an API key: `parsec_<name>_<secret><checksum>`.

The name is public: lists and logs show it. The secret has 256 random bits, so a plain hash of a key cannot be reversed.
The checksum tells a typo from an unknown key without the keys file, and lets scanners find leaked keys.
"""

import hashlib
import re
import zlib

from parsec.core.clock import Random

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NAME_CHARS, _SECRET_CHARS, _CHECKSUM_CHARS = 8, 43, 6
_FORM = re.compile(r"parsec_([0-9a-z]{8})_[0-9A-Za-z]{49}", re.ASCII)


def new_key(random: Random) -> str:
    """A new random key."""
    name = _in_digits(int.from_bytes(random.bytes(8), "big"), 36, _NAME_CHARS)
    begun = f"parsec_{name}_{_in_digits(int.from_bytes(random.bytes(32), 'big'), 62, _SECRET_CHARS)}"
    return begun + _checksum(begun)


def name_of(key: str) -> str | None:
    """The public name; None: the text is not a key, or has a typo."""
    match = _FORM.fullmatch(key)
    if match is None or _checksum(key[:-_CHECKSUM_CHARS]) != key[-_CHECKSUM_CHARS:]:
        return None
    return match[1]


def hash_of(key: str) -> str:
    """The hash that is stored: SHA-256, in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def _checksum(text: str) -> str:
    return _in_digits(zlib.crc32(text.encode()), 62, _CHECKSUM_CHARS)


def _in_digits(number: int, base: int, length: int) -> str:
    """The last `length` digits; base 36 has no capitals."""
    digits = _DIGITS if base == 62 else _DIGITS[:10] + _DIGITS[36:]
    found = ""
    for _ in range(length):
        number, digit = divmod(number, base)
        found = digits[digit] + found
    return found
