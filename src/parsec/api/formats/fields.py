"""The fields of a JSON object as they were sent, and an event made of them.

In: names of fields. Out: texts, raw JSON, an event. Errors: none: a field of another type is as good as absent and
stays where it is. Next: parsec.api.formats.detect.
"""

import hashlib
from typing import Any

import msgspec

from parsec.api.event_rules import MAX_ID_CHARS, MAX_SOURCE_CHARS

Fields = dict[str, msgspec.Raw]
Event = dict[str, Any]
"""Fields of POST /ingest; values are anything that msgspec encodes."""

_FIELDS = msgspec.json.Decoder(Fields)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder()
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


def fields_of(data: bytes | msgspec.Raw | None) -> Fields | None:
    """None: no object."""
    try:
        return None if data is None else _FIELDS.decode(data)
    except _UNREADABLE:
        return None


def list_of(data: msgspec.Raw | None) -> list[msgspec.Raw]:
    """Empty for what is no list."""
    try:
        return [] if data is None else _LIST.decode(data)
    except _UNREADABLE:
        return []


def value_of(data: msgspec.Raw | None) -> Any:
    """Decoded; None for nothing, null, or what cannot be read."""
    try:
        return None if data is None else _ANY.decode(data)
    except _UNREADABLE:
        return None


def text_of(fields: Fields, *names: str) -> str:
    """The first of these fields that is a text and not blank, or ''."""
    for name in names:
        raw = fields.get(name)
        if raw is not None:
            value = value_of(raw)
            if isinstance(value, str) and value.strip():
                return value
    return ""


def take_text(fields: Fields, *names: str) -> str | None:
    """The first of these fields that is a text, which may be empty, and is taken out. None: none is."""
    for name in names:
        value = value_of(fields.get(name))
        if isinstance(value, str):
            del fields[name]
            return value
    return None


def take(fields: Fields, *names: str) -> msgspec.Raw | None:
    """The first of these fields that is a text or a number, which is taken out."""
    for name in names:
        value = value_of(fields.get(name))
        if isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
            return fields.pop(name)
    return None


def event_of(
    fields: Fields, *, message: str, timestamp: object = None, severity: object = None, source: str = "", name: str = ""
) -> Event:
    """`fields` are left for the metadata. `name`: the id, which is hashed when it is longer than an id may be."""
    if len(name) > MAX_ID_CHARS:
        name = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    given = {
        "id": name, "timestamp": timestamp, "severity": severity, "source": source.strip()[:MAX_SOURCE_CHARS].strip(),
    }  # fmt: skip
    event: Event = {field: value for field, value in given.items() if value is not None and value != ""}
    event["message"] = message
    if fields:
        event["metadata"] = fields
    return event
