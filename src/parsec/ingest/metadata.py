"""Metadata: checked, joined with the unknown fields of its event, put on one line, and otherwise left as sent.

In: the bytes of one JSON object, known to be valid JSON and UTF-8. Out: the same text without line breaks. Numbers,
escapes, duplicate keys and the order of keys stay. Errors: Rejected(invalid_metadata, too_deep, too_many_keys,
event_too_large). Next: parsec.ingest.normalize.
"""

from collections.abc import Sequence

import msgspec

from parsec.api.event_rules import (
    MAX_UNCOUNTED_BYTES,
    Cache,
    check_key_count,
    check_metadata,
    require_object,
    too_large,
)
from parsec.ingest.body.fast_path import NO_METADATA, Fields

_NO_METADATA_TEXT = bytes(NO_METADATA)
_NOTHING: Fields = {}
_NAMES = msgspec.json.Decoder(Fields)
_ENCODER = msgspec.json.Encoder()
_KEYS = Cache(lambda name: b",%b:" % _ENCODER.encode(name))


def check_column(column: Sequence[msgspec.Raw]) -> bool:
    """Whether all of these are small flat objects on one line: the common case, settled at once for many events."""
    if len(column) == 1:
        (text,) = map(bytes, column)
        brackets = text.count(b"{") + text.count(b"[") + text.count(b"\n") + text.count(b"\r")
        return brackets == 1 and text.startswith(b"{") and len(text) <= MAX_UNCOUNTED_BYTES
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
        and max(map(len, texts)) < MAX_UNCOUNTED_BYTES
    )


def check(text: bytes, max_bytes: int) -> bytes:
    """The metadata of one event, on one line. Raises Rejected."""
    require_object(text)
    if len(text) > 4 * max_bytes:
        raise too_large(max_bytes)  # so far above that leaving out white space is no way back
    check_metadata(text)
    return msgspec.json.format(text, indent=-1) if b"\n" in text or b"\r" in text else text


def join(own: bytes, unknown: Fields, max_bytes: int) -> bytes:
    """`own`, the metadata as sent, with the unknown fields of the event after its own; to be checked. Raises Rejected.

    An unknown field whose name `own` has already gets underscores in front until the name is free.
    """
    require_object(own)
    check_key_count(len(unknown))
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
