"""Batch objects: `{"events": [...]}` with nothing else, as a body, on a line or among other values.

In: an object, decoded or not. Out: its array, or a verdict; None for an event. Errors: none. Next:
parsec.ingest.body.array.

An object that has the field with the message (`?message_field=`) is an event, whatever else it has.
"""

import re
from collections.abc import Sequence

import msgspec

from parsec.ingest.body.fast_path import UNREADABLE, Event, Fault, Fields, Item, WideEvent
from parsec.ingest.body.scan import WHITESPACE, value_end
from parsec.ingest.field_mapping import nested

HEAD = re.compile(rb'\{[ \t\r\n]*+"events"[ \t\r\n]*+:[ \t\r\n]*+(?=\[)')


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    events: msgspec.Raw


_BATCH = msgspec.json.Decoder(_Batch)


def batch_array(text: bytes) -> bytes | None:
    """The array of a batch; None for anything else."""
    try:
        array = bytes(_BATCH.decode(text).events)
    except UNREADABLE:
        return None
    return array if array.startswith(b"[") else None


def damaged_array(text: bytes) -> bytes | None:
    """The same where the array is not JSON, perhaps because of one bad event in it."""
    head = HEAD.match(text)
    stop = value_end(text, head.end(), len(text)) if head else None
    if head is None or stop is None or text[stop:].strip(WHITESPACE) != b"}":
        return None
    return text[head.end() : stop]


def batch_of(fields: Fields, message_names: Sequence[str]) -> bytes | Fault | None:
    """The array of a batch, or a verdict if it has other fields."""
    array = bytes(fields.get("events", b""))
    if not array.startswith(b"[") or _has_message(fields, message_names):
        return None
    other = next((name for name in fields if name != "events"), None)
    if other is None:
        return array
    why = (
        f"A batch has the field `events` only, not {other[:64]!r}. Put values that all events share into the URL "
        "(?tenant_id=, ?source=, ?severity=) or the header X-Tenant-ID, and the rest into each event. An event that "
        "has a field `events` needs a message."
    )
    return Fault("unknown_field", other[:64], why)


def may_hold_batch(items: Sequence[Item]) -> bool:
    """Whether one of these, from the fast path, may be a batch."""
    return any(
        "events" in (item.fields if isinstance(item, WideEvent) else item)
        for item in items
        if not isinstance(item, Event | Fault)
    )


def _has_message(fields: Fields, names: Sequence[str]) -> bool:
    return any(name in fields or ("." in name and nested(fields, name) is not None) for name in names)
