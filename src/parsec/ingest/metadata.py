"""Metadata: checked, joined with the unknown fields of its event, put on one line, and otherwise left as sent.

In: the bytes of one JSON object, known to be valid JSON and UTF-8. Out: the same text without line breaks. Numbers,
escapes, duplicate keys and the order of keys stay. Errors: Rejected(invalid_metadata, too_deep, too_many_keys,
event_too_large). Next: parsec.ingest.normalize.
"""

from collections.abc import Sequence

import msgspec

from parsec.core.errors import Rejected
from parsec.ingest.body.fast_path import NO_METADATA, Fields
from parsec.ingest.body.scan import nests_deeper
from parsec.ingest.canonical import Memory

MAX_DEPTH = 32
MAX_KEYS = 256

_FEWEST_BYTES_PER_KEY = 5  # "":0,
_NO_METADATA_TEXT = bytes(NO_METADATA)
_NOTHING: Fields = {}
_NAMES = msgspec.json.Decoder(Fields)
_ENCODER = msgspec.json.Encoder()
_KEYS = Memory(lambda name: b",%b:" % _ENCODER.encode(name))


def check_column(column: Sequence[msgspec.Raw]) -> bool:
    """Whether all of these are small flat objects on one line: the common case, settled at once for many events."""
    if len(column) == 1:
        (text,) = map(bytes, column)
        brackets = text.count(b"{") + text.count(b"[") + text.count(b"\n") + text.count(b"\r")
        return brackets == 1 and text.startswith(b"{") and len(text) <= MAX_KEYS * _FEWEST_BYTES_PER_KEY
    joined = b"\n" + b"\n".join(column)
    if b"[" in joined or b"\r" in joined:
        return False
    texts = joined.split(b"\n{")
    # One part per object and one before the first; a brace or break that is left belongs to a nested or broken line.
    rest = b"".join(texts)
    return (
        len(texts) == len(column) + 1
        and b"{" not in rest
        and b"\n" not in rest
        and max(map(len, texts)) < MAX_KEYS * _FEWEST_BYTES_PER_KEY
    )


def check(text: bytes, max_bytes: int) -> bytes:
    """The metadata of one event, on one line. Raises Rejected."""
    _require_object(text)
    if len(text) > 4 * max_bytes:
        raise too_large(max_bytes)  # so far above that leaving out white space is no way back
    if nests_deeper(text, MAX_DEPTH):
        raise Rejected("too_deep", f"metadata nests deeper than {MAX_DEPTH} levels.", field="metadata")
    if b"\n" in text or b"\r" in text:
        text = msgspec.json.format(text, indent=-1)
    if len(text) >= MAX_KEYS * _FEWEST_BYTES_PER_KEY:
        _count_keys(len(_NAMES.decode(text)))
    return text


def join(own: bytes, unknown: Fields, max_bytes: int) -> bytes:
    """`own`, the metadata as sent, with the unknown fields of the event after its own; to be checked. Raises Rejected.

    An unknown field whose name `own` has already gets underscores in front until the name is free.
    """
    _require_object(own)
    _count_keys(len(unknown))
    if len(own) > 4 * max_bytes:
        raise too_large(max_bytes)
    taken = _NAMES.decode(own) if own != _NO_METADATA_TEXT else _NOTHING
    if not taken.keys().isdisjoint(unknown):
        unknown = dict(zip(_free_names(taken, unknown), unknown.values(), strict=True))
    parts: list[bytes | msgspec.Raw] = [own[:-1]] if taken else []
    for name, raw in unknown.items():
        parts += (_KEYS[name], raw)
    parts.append(b"}")
    text = b"".join(parts)
    return text if taken else b"{" + text[1:]


def _require_object(text: bytes) -> None:
    if not text.startswith(b"{"):
        raise Rejected("invalid_metadata", "metadata must be a JSON object.", field="metadata")


def too_large(max_bytes: int) -> Rejected:
    message = f"The event is larger than {max_bytes} bytes; shorten the message or the metadata."
    return Rejected("event_too_large", message)


def _free_names(taken: Fields, unknown: Fields) -> list[str]:
    used = taken.keys() | unknown.keys()
    names = []
    for name in unknown:
        free = name
        if name in taken:
            while free in used:
                free = "_" + free
            used.add(free)
        names.append(free)
    return names


def _count_keys(count: int) -> None:
    if count > MAX_KEYS:
        message = f"metadata has {count} keys at its top level, unknown fields included; at most {MAX_KEYS} fit."
        raise Rejected("too_many_keys", message, field="metadata")
