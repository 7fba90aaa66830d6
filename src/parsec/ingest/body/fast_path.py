"""Many events in one call of the JSON decoder.

In: the bytes of an array or lines, up to QUICK_BYTES. Out: items in order: an `Event`, a `WideEvent` or its
`Fields`. Errors: none; None for bytes of any other kind, which parsec.ingest.body.slow_path reads one event at a time.
Next: parsec.ingest.normalize.

Metadata and unknown fields stay the bytes that were sent: checked as JSON and as UTF-8, never converted.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import msgspec

from parsec.core.errors import Rejected

QUICK_BYTES = 256 << 10
"""No more is decoded at once: small events are objects of some 30 times their size."""

NO_METADATA = msgspec.Raw(b"{}")

Fields = dict[str, msgspec.Raw]


class Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event with standard fields only. '' stands for an absent one."""

    id: str = ""
    tenant_id: str = ""
    timestamp: str | Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)] = ""
    severity: str = ""
    source: str = ""
    message: str = ""
    metadata: msgspec.Raw = NO_METADATA


class LooseEvent(msgspec.Struct, gc=False):
    """The standard fields of an event that has others too. A float stands for its text, which `Fields` have."""

    id: str = ""
    tenant_id: str = ""
    timestamp: str | Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)] | float = ""
    severity: str = ""
    source: str = ""
    message: str = ""


class WideEvent(msgspec.Struct, frozen=True, gc=False):
    """An event read twice, because that is cheaper than reading its fields one by one: typed, and all fields raw."""

    event: LooseEvent
    fields: Fields


class Fault(msgspec.Struct, frozen=True):
    """In the place of an event that cannot be read: why."""

    code: str
    field: str | None
    message: str


Item = Event | WideEvent | Fields | Fault

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on arbitrary bytes; ValidationError is a DecodeError."""


EVENT_DECODER = msgspec.json.Decoder(Event)
_EVENTS = msgspec.json.Decoder(list[Event])
_LOOSE = msgspec.json.Decoder(LooseEvent)
_LOOSE_LIST = msgspec.json.Decoder(list[LooseEvent])
_FIELDS = msgspec.json.Decoder(Fields)
_FIELDS_LIST = msgspec.json.Decoder(list[Fields])


def quick_array(text: bytes) -> list[Item] | None:
    """The objects of an array; None if it may hold anything else."""
    return _quick(text, _EVENTS.decode, _FIELDS_LIST.decode, _LOOSE_LIST.decode)


def quick_lines(text: bytes) -> list[Item] | None:
    """Objects after one another, on lines or across them; None if there may be anything else."""
    return _quick(text, EVENT_DECODER.decode_lines, _FIELDS.decode_lines, _LOOSE.decode_lines)


def _quick(
    text: bytes,
    events: Callable[[bytes], list[Event]],
    fields: Callable[[bytes], list[Fields]],
    loose: Callable[[bytes], list[LooseEvent]],
) -> list[Item] | None:
    if len(text) > QUICK_BYTES or not is_utf8(text):
        return None
    try:
        return events(text)  # type: ignore[return-value]
    except UNREADABLE:
        pass
    try:
        rows = fields(text)
    except UNREADABLE:
        return None
    try:
        return list(map(WideEvent, loose(text), rows))
    except UNREADABLE:
        return rows  # type: ignore[return-value]


def is_utf8(text: bytes) -> bool:
    """msgspec does not check the strings inside a Raw."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


SLICE_BYTES = 128 << 10
"""About a millisecond of work on the fast path."""

SLOW_SLICE_BYTES = 32 << 10
"""About as much work event by event."""


class Chunk(msgspec.Struct, frozen=True):
    """Consecutive items of a body, the index of the first, and the bytes that they take in the body."""

    first_index: int
    items: list[Item]
    size_bytes: int


class Tally:
    """Counts the items of a body so far, against `max_events`. `taken`: items in chunks. `empty`: values without an
    event, which cost time as events do and have the same limit."""

    def __init__(self, max_events: int, taken: int = 0, empty: int = 0) -> None:
        self.max_events = max_events
        self.taken = taken
        self.empty = empty

    def check(self, items: Sequence[Item]) -> None:
        """Called while items are collected, so that a flood of tiny ones never becomes a long list. Raises Rejected."""
        if self.taken + len(items) > self.max_events or self.empty > self.max_events:
            what = "events or empty arrays" if self.empty else "events"
            message = f"The body has more than {self.max_events} {what}; split them over several requests."
            raise Rejected("too_many_events", message, status=413)

    def chunk(self, items: list[Item], size_bytes: int) -> Iterator[Chunk]:
        """One chunk, or none without items."""
        self.check(items)
        if items:
            first = self.taken
            self.taken += len(items)
            yield Chunk(first, items, size_bytes)

    def ahead(self, items: Sequence[Item]) -> "Tally":
        """For the inside of a line or value: as if the items before it were in a chunk."""
        return Tally(self.max_events, self.taken + len(items), self.empty)
