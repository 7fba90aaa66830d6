"""Read the fields of a JSON object, and build an event of them.

In: names of fields. Out: texts, raw JSON, an event. Errors: none: a field of another type counts as absent and stays in
the metadata. Next: parsec.api.formats.detect.
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
    """None: not an object."""
    try:
        return None if data is None else _FIELDS.decode(data)
    except _UNREADABLE:
        return None


def list_of(data: msgspec.Raw | None) -> list[msgspec.Raw]:
    """Empty for anything but a list."""
    try:
        return [] if data is None else _LIST.decode(data)
    except _UNREADABLE:
        return []


def value_of(data: msgspec.Raw | None) -> Any:
    """Decoded; None if it is absent, null, or unreadable."""
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
    """Removes and returns the first of these fields that is a text, even an empty one; else None."""
    for name in names:
        value = value_of(fields.get(name))
        if isinstance(value, str):
            del fields[name]
            return value
    return None


def take(fields: Fields, *names: str) -> msgspec.Raw | None:
    """Removes and returns the first of these fields that is a number or a text that is not empty."""
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
