"""The text of metadata, without duplicate keys: the last one wins, as in other JSON parsers.

In: the bytes of JSON objects. Out: the same text, or, if an object has a key twice, the text without the earlier one;
numbers, escapes and the order of keys stay as sent. Also, where a number is too large for the store to search, a text
with such numbers as strings. Errors: ValueError (no JSON object, not UTF-8, a lone surrogate), RecursionError.
Next: parsec.process.rows.

Decoding removes duplicate keys, so text that is encoded again has fewer colons if, and only if, it had some. Strings
are the same on both sides, unless they have `\\u` escapes.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from parsec.api.event_rules import MAX_METADATA_DEPTH, MAX_METADATA_KEYS, nests_deeper

Fields = dict[str, msgspec.Raw]
Leaf = Callable[[msgspec.Raw], bytes]

_FIELDS = msgspec.json.Decoder(Fields)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, Any]])
_ENCODER = msgspec.json.Encoder()
_OBJECT, _ARRAY = ord("{"), ord("[")
_TO_DIGITS = bytes(ord("0") if chr(c) in "-0123456789" else ord(" ") for c in range(256))
_NUMBER_STARTS = frozenset(b"%c" % c for c in b"-0123456789")
_NOT_OPENING = bytes(c for c in range(256) if c not in b"{[\n")
_LONG_NUMBER = b"0" * 20  # the shortest that may be beyond 64 bits, with or without a sign
_LONG_OUTSIDE = re.compile(rb"[:,\[ \t]-?[0-9]{19}")  # where a value may begin, so not the digits of an id in quotes


def is_plain(raws: Sequence[msgspec.Raw]) -> bool:
    """Whether all of these are one-line objects within the rules, without duplicate keys or huge numbers.

    A quick check: False may also mean that it cannot tell.
    """
    lines = b"\n".join(raws)
    brackets = lines.translate(None, _NOT_OPENING).split(b"\n")
    if len(brackets) != len(raws) or (
        max(map(len, brackets)) > MAX_METADATA_DEPTH
        and any(nests_deeper(bytes(raw), MAX_METADATA_DEPTH) for raw in raws)
    ):
        return False
    joined = lines.replace(b"\n", b",")
    if b"\\u" in joined or b"\r" in joined:
        return False
    if _LONG_NUMBER in joined.translate(_TO_DIGITS) and _LONG_OUTSIDE.search(joined):
        return False
    try:
        objects = _OBJECTS.decode(b"[%b]" % joined)
        return (
            len(objects) == len(raws)
            and max(map(len, objects), default=0) <= MAX_METADATA_KEYS
            and _ENCODER.encode(objects).count(b":") == joined.count(b":")
        )
    except (ValueError, OverflowError, RecursionError):
        return False  # among others for numbers that neither 64 bits nor a double can hold


def texts(raw: msgspec.Raw) -> tuple[str, str]:
    """The object without line breaks and duplicate keys; and the text to search by, empty if it is the same."""
    text = str(raw, "utf-8")
    if is_plain([raw]):
        return text, ""
    fields = _FIELDS.decode(raw)
    if "\n" in text or "\r" in text or _has_duplicate_keys(text):
        text = _object(fields, bytes).decode()
    whole, searchable = _object(fields, bytes), _object(fields, _searchable)
    return text, "" if whole == searchable else searchable.decode()


def _has_duplicate_keys(text: str) -> bool:
    """The exact and slow check."""
    found = False

    def check(pairs: list[tuple[str, object]]) -> None:
        nonlocal found
        found = found or len(dict(pairs)) < len(pairs)

    json.loads(text, object_pairs_hook=check, parse_int=str, parse_float=str)
    return found


def _object(fields: Fields, leaf: Leaf) -> bytes:
    """The object with the last of each key, at all levels, and no white space between tokens."""
    return b"{%b}" % b",".join([_ENCODER.encode(key) + b":" + _value(value, leaf) for key, value in fields.items()])


def _value(raw: msgspec.Raw, leaf: Leaf) -> bytes:
    first = memoryview(raw)[0]
    if first == _OBJECT:
        return _object(_FIELDS.decode(raw), leaf)
    if first == _ARRAY:
        return b"[%b]" % b",".join([_value(item, leaf) for item in _ITEMS.decode(raw)])
    return leaf(raw)


def _searchable(raw: msgspec.Raw) -> bytes:
    """A number beyond 64 bits, or beyond a double, as a string of its digits; all other values unchanged."""
    text = bytes(raw)
    if text[:1] not in _NUMBER_STARTS:
        return text
    if text.lstrip(b"-").isdigit():
        return text if len(text) < 20 or -(1 << 63) <= _integer(text) < 1 << 64 else b'"%b"' % text
    return text if math.isfinite(float(text)) else b'"%b"' % text


def _integer(text: bytes) -> int:
    return int(text[:40])  # beyond 64 bits if the whole is; Python refuses to read thousands of digits
