"""The form of an API key, `parsec_<name>_<secret><checksum>`, and the caller who shows one.

The name is public: lists and logs show it. The secret has 256 random bits, so a plain hash of a key cannot be reversed.
The checksum tells a typo from an unknown key without the keys file, and lets scanners find leaked keys.

A `Caller` is what a key permits: its tenant, if it has one, and its scopes.
"""

import hashlib
import re
import zlib
from collections.abc import Collection
from typing import Literal, get_args

import msgspec

from parsec.core.clock import Random
from parsec.core.errors import Rejected

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NAME_CHARS, _SECRET_CHARS, _CHECKSUM_CHARS = 8, 43, 6
_FORM = re.compile(r"parsec_([0-9a-z]{8})_[0-9A-Za-z]{49}", re.ASCII)


def new_key(random: Random) -> str:
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


Right = Literal["ingest", "query", "admin"]
RIGHTS: tuple[Right, ...] = get_args(Right)
"""`ingest`: send events. `query`: read events. `admin`: read statistics and ledgers. None includes another."""


class Caller(msgspec.Struct, frozen=True):
    """`tenant` None: the caller may name any. `key`: the public name of the API key; '' without one."""

    rights: frozenset[Right]
    tenant: str | None = None
    key: str = ""

    def may(self, right: Right) -> bool:
        return right in self.rights

    def require(self, right: Right) -> None:
        """Raises Rejected(missing_scope)."""
        if right not in self.rights:
            raise Rejected("missing_scope", f"This needs an API key with the scope {right}.", status=403)


def rights(words: Collection[str]) -> frozenset[Right]:
    """Rights from the names of scopes. Raises ValueError with the valid names."""
    unknown = [word for word in words if word not in RIGHTS]
    if unknown or not words:
        raise ValueError(f"scopes must be any of {', '.join(RIGHTS)}")
    return frozenset(right for right in RIGHTS if right in words)


ANYONE = Caller(frozenset(RIGHTS))
"""Every caller while no API key is required."""

ANONYMOUS = Caller(frozenset())
"""A caller without an API key where one is required."""
