"""Metadata: checked, joined with the unknown fields of its event, and put on one line; otherwise as sent.

In: valid JSON in UTF-8. Out: the same text without line breaks; numbers, escapes, duplicate keys and the order of keys
stay. Errors: Rejected(invalid_metadata, too_deep, too_many_keys, event_too_large). Next: parsec.ingest.normalize.
"""

import msgspec

from parsec.api.event_rules import Cache, check_key_count, check_metadata, require_object, too_large
from parsec.ingest.body.fast_path import NO_METADATA, Fields

_NO_METADATA_TEXT = bytes(NO_METADATA)
_NOTHING: Fields = {}
_NAMES = msgspec.json.Decoder(Fields)
_ENCODER = msgspec.json.Encoder()
_KEYS = Cache(lambda name: b",%b:" % _ENCODER.encode(name))


def check(text: bytes, max_bytes: int) -> bytes:
    """The metadata of one event, on one line. Raises Rejected."""
    if len(text) > 4 * max_bytes:
        raise too_large(max_bytes)  # leaving out white space cannot make it small enough
    check_metadata(text)
    return msgspec.json.format(text, indent=-1) if b"\n" in text or b"\r" in text else text


def join(own: bytes, unknown: Fields, max_bytes: int) -> bytes:
    """`own`, the metadata as sent, followed by the unknown fields of its event, unchecked. Raises Rejected.

    An unknown field with a name that `own` has, too, gets underscores in front until its name is free.
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
