"""The text of metadata that is kept, and the one that it is searched by where they differ.

In: JSON objects as sent. Out: for each its text, and `search_text`, mostly empty. Errors: ValueError, RecursionError
for what is no object. Next: parsec.process.rows.

Metadata keeps its text, without duplicate keys: the last one wins, as in other JSON parsers. Numbers, escapes and the
order of keys stay as sent. Decoding removes duplicate keys, so text that is encoded again has fewer colons if, and only
if, it had some. `search_text` differs

1. where a number is too large for the store: it is a string there. In lists that begins beyond 2^53: the engine reads
   integers as decimals there if the list, or one of another event in the same insert, has decimals among other types;
2. where a path is odd: `a.b` nested and dotted, values in lists of objects or of lists. There the object is flat: each
   path once, with the list of all its values.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from parsec.api.event_rules import MAX_METADATA_DEPTH, MAX_METADATA_KEYS, nests_deeper

Fields = dict[str, msgspec.Raw]
Leaf = Callable[[msgspec.Raw, bool], bytes]
"""A value that is neither object nor list, and whether it is an item of a list."""

_FIELDS = msgspec.json.Decoder(Fields)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECTS = msgspec.json.Decoder(list[dict[str, Any]])
_ENCODER = msgspec.json.Encoder()
_OBJECT, _ARRAY = b"{["
_TO_DIGITS = bytes(ord("0") if chr(c) in "-0123456789" else ord(" ") for c in range(256))
_NUMBER_STARTS = frozenset(b"%c" % c for c in b"-0123456789")
_NOT_OPENING = bytes(c for c in range(256) if c not in b"{[\n")
_LONG_NUMBER = b"0" * 20  # the shortest that may be beyond 64 bits, with or without a sign
_LONG_ITEM = b"0" * 16  # the shortest that may be beyond 2^53
_NESTED_LIST = re.compile(rb"[\[,][ \t]*[\[{]")
"""An object or a list in a list; also in texts that look so."""
_DOTTED_KEY = re.compile(rb'\.(?:[^"\\]|\\.)*"[ \t]*:')
_SMALLEST, _LARGEST = -(1 << 63), (1 << 64) - 1
_LONG_OUTSIDE = re.compile(rb"[:,\[ \t]-?[0-9]{19}")  # where a value may begin, so not the digits of an id in quotes
_LONG_ITEM_OUTSIDE = re.compile(rb"[\[,][ \t]*-?[0-9]{16}")
_LARGEST_ITEM = 1 << 53


def is_plain(raws: Sequence[msgspec.Raw]) -> bool:
    """Whether all of these are one-line objects within the rules, without duplicate keys, huge numbers or odd paths.

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
    if _may_be_too_large(joined):
        return False
    try:
        objects = _OBJECTS.decode(b"[%b]" % joined)
        return (
            len(objects) == len(raws)
            and max(map(len, objects), default=0) <= MAX_METADATA_KEYS
            and _ENCODER.encode(objects).count(b":") == joined.count(b":")
            and not (_may_be_odd(lines) and any(map(has_odd_paths, objects)))
        )
    except (ValueError, OverflowError, RecursionError):
        return False  # among others for numbers that neither 64 bits nor a double can hold


def _may_be_too_large(text: bytes) -> bool:
    digits = text.translate(_TO_DIGITS)
    if _LONG_ITEM not in digits:
        return False
    if b"[" in text and _LONG_ITEM_OUTSIDE.search(text):
        return True
    return _LONG_NUMBER in digits and _LONG_OUTSIDE.search(text) is not None


def texts(raw: msgspec.Raw) -> tuple[str, str]:
    """The object without line breaks and duplicate keys; and the text to search by, empty if it is the same."""
    text = str(raw, "utf-8")
    if is_plain([raw]):
        return text, ""
    fields = _FIELDS.decode(raw)
    value = _quick_value(raw)
    if value is not None and has_odd_paths(value):
        return text, _ENCODER.encode(_by_path(value)).decode()
    if "\n" in text or "\r" in text or _has_duplicate_keys(text):
        text = _object(fields, _as_sent).decode()
    value = json.loads(text, parse_int=_number_or_text, parse_float=_number_or_text)
    if has_odd_paths(value):
        return text, _ENCODER.encode(_by_path(value)).decode()
    whole, searchable = _object(fields, _as_sent), _object(fields, _searchable)
    return text, "" if whole == searchable else searchable.decode()


def _quick_value(raw: msgspec.Raw) -> dict[str, Any] | None:
    """The object if a quick check finds no line break and no duplicate key in it."""
    text = bytes(raw)
    if b"\\u" in text or b"\n" in text or b"\r" in text:
        return None
    try:
        (value,) = _OBJECTS.decode(b"[%b]" % text)
        return value if _ENCODER.encode(value).count(b":") == text.count(b":") else None
    except (ValueError, OverflowError, RecursionError):
        return None


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


def _value(raw: msgspec.Raw, leaf: Leaf, *, listed: bool = False) -> bytes:
    first = memoryview(raw)[0]
    if first == _OBJECT:
        return _object(_FIELDS.decode(raw), leaf)
    if first == _ARRAY:
        return b"[%b]" % b",".join([_value(item, leaf, listed=True) for item in _ITEMS.decode(raw)])
    return leaf(raw, listed)


def _as_sent(raw: msgspec.Raw, listed: bool) -> bytes:  # noqa: ARG001 (a Leaf)
    return bytes(raw)


def _searchable(raw: msgspec.Raw, listed: bool) -> bytes:
    """A number that the store cannot keep exactly at this place as a string of its digits; all others unchanged."""
    text = bytes(raw)
    if text[:1] not in _NUMBER_STARTS:
        return text
    if text.lstrip(b"-").isdigit():
        return text if len(text) < len(_LONG_ITEM) or _is_exact(_integer(text), listed=listed) else b'"%b"' % text
    return text if math.isfinite(float(text)) else b'"%b"' % text


def _number_or_text(text: str) -> Any:
    searched = _searchable(msgspec.Raw(text.encode()), False)
    return text if searched[:1] == b'"' else msgspec.json.decode(searched)


def _integer(text: bytes) -> int:
    return int(text[:40])  # beyond 64 bits if the whole is; Python refuses to read thousands of digits


def _is_exact(number: int, *, listed: bool) -> bool:
    return abs(number) <= _LARGEST_ITEM if listed else _SMALLEST <= number <= _LARGEST


def _may_be_odd(lines: bytes) -> bool:
    return bool((b"[" in lines and _NESTED_LIST.search(lines)) or _DOTTED_KEY.search(lines))


def has_odd_paths(value: dict[str, Any]) -> bool:
    """Whether the store needs the object flat to find all of its values by their paths."""
    return _has_odd_list(value) or (_may_repeat(value) and max(_paths(value).values()) > 1)


def _may_repeat(value: dict[str, Any]) -> bool:
    """Whether a dotted key leads into an object beside it."""
    return any(
        type(value.get(key[:n])) is dict for key in value if "." in key for n, letter in enumerate(key) if letter == "."
    ) or any(_may_repeat(inner) for inner in value.values() if type(inner) is dict)


def _has_odd_list(value: dict[str, Any]) -> bool:
    return any(
        _has_odd_list(inner) if type(inner) is dict else type(inner) is list and any(map(_is_nested, inner))
        for inner in value.values()
    )


def _is_nested(value: Any) -> bool:
    return type(value) in (dict, list)


def _paths(value: dict[str, Any]) -> Counter[str]:
    """How many values each path has."""
    found: Counter[str] = Counter({"": 0})
    for key, inner in value.items():
        if type(inner) is dict:
            found.update({f"{key}.{path}": count for path, count in _paths(inner).items() if count})
        else:
            found[key] += 1
    return found


def _by_path(value: dict[str, Any]) -> dict[str, Any]:
    """Each path once, with its value, or with the list of them."""
    found: dict[str, Any] = {}
    lists: dict[str, list[Any]] = {}
    for path, inner in value.items():
        _collect(path, inner, found, lists, listed=False)
    for path, values in lists.items():
        if path in found:
            found[path] = _exact([found[path], *values])
        elif values or not any(other.startswith(f"{path}.") for other in (*found, *lists)):
            found[path] = _exact(values)
    return found


def _exact(items: list[Any]) -> list[Any]:
    return [str(item) if type(item) is int and not _is_exact(item, listed=True) else item for item in items]


def _collect(path: str, value: Any, found: dict[str, Any], lists: dict[str, list[Any]], *, listed: bool) -> None:
    """`found`: the first value of each path outside of lists; `lists`: all others."""
    if type(value) is dict:
        for key, inner in value.items():
            _collect(f"{path}.{key}", inner, found, lists, listed=listed)
    elif type(value) is list:
        lists.setdefault(path, [])
        for inner in value:
            _collect(path, inner, found, lists, listed=True)
    elif value is not None:
        leaf = str(value) if type(value) is int and not _is_exact(value, listed=False) else value
        if listed or path in found:
            lists.setdefault(path, []).append(leaf)
        else:
            found[path] = leaf
