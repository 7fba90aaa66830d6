"""The bytes of one event, or of a slice of them, to items: an `Event`, a `WideEvent`, its `Fields`, or a `Fault`.

In: bytes whose ends parsec.ingest.body.reader has found. Out: items in order. Errors: none; bytes that the quick ways
cannot read give None, and `read_value` then gives each event its own verdict. Next: parsec.ingest.normalize.

Metadata and unknown fields stay the bytes that were sent: checked as JSON and as UTF-8, never converted.
"""

import re
from typing import Annotated

import msgspec

from parsec.ingest.body.scan import has_more_keys, name_at

QUICK_BYTES = 256 << 10
"""The quick ways take no more at once: small events in it are held as objects, some 30 times their size."""

MAX_FIELDS = 10_000
"""Fields of one event that are looked at. More would be refused for its keys or its size in any case."""

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
    """What stands in the place of an event that cannot be read."""

    code: str
    field: str | None
    message: str


Item = Event | WideEvent | Fields | Fault

NOT_AN_OBJECT = Fault("not_an_object", None, 'An event must be a JSON object, such as {"message": "..."}.')
TOO_DEEP = Fault("too_deep", None, "The event nests too deep; metadata may nest 32 levels.")
TOO_MANY_KEYS = Fault("too_many_keys", None, f"The event has more than {MAX_FIELDS} fields; nest or drop some.")

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes of strangers; ValidationError is a DecodeError."""


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    events: msgspec.Raw


_BATCH = msgspec.json.Decoder(_Batch)
_EVENT = msgspec.json.Decoder(Event)
_EVENTS = msgspec.json.Decoder(list[Event])
_LOOSE = msgspec.json.Decoder(LooseEvent)
_LOOSE_LIST = msgspec.json.Decoder(list[LooseEvent])
_FIELDS = msgspec.json.Decoder(Fields)
_FIELDS_LIST = msgspec.json.Decoder(list[Fields])
_VALUE = msgspec.json.Decoder(msgspec.Raw)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def quick_event(text: bytes) -> Event | None:
    """An object with standard fields only; None: look closer."""
    try:
        event = _EVENT.decode(text)
    except UNREADABLE:
        return None
    return event if is_utf8(text) else None


def quick_array(text: bytes) -> list[Item] | None:
    """The objects of an array; None: look closer."""
    if len(text) > QUICK_BYTES or not is_utf8(text):
        return None
    try:
        return _EVENTS.decode(text)  # type: ignore[return-value]
    except UNREADABLE:
        pass
    try:
        rows = _FIELDS_LIST.decode(text)
    except UNREADABLE:
        return None
    try:
        return list(map(WideEvent, _LOOSE_LIST.decode(text), rows))
    except UNREADABLE:
        return rows  # type: ignore[return-value]


def quick_lines(text: bytes) -> list[Item] | None:
    """Objects after one another; None: look closer. A value may span lines; if it is sound, so are its neighbours."""
    if len(text) > QUICK_BYTES or not is_utf8(text):
        return None
    try:
        return _EVENT.decode_lines(text)  # type: ignore[return-value]
    except UNREADABLE:
        pass
    try:
        rows = _FIELDS.decode_lines(text)
    except UNREADABLE:
        return None
    try:
        return list(map(WideEvent, _LOOSE.decode_lines(text), rows))
    except UNREADABLE:
        return rows  # type: ignore[return-value]


def batch_array(text: bytes) -> bytes | None:
    """The array of `{"events": [...]}` without any other field; None: look closer."""
    try:
        array = bytes(_BATCH.decode(text).events)
    except UNREADABLE:
        return None
    return array if array.startswith(b"[") else None


def read_fields(text: bytes) -> Fields | Fault:
    """Of one object. Raises one of UNREADABLE; then `read_value` knows more."""
    if len(text) > QUICK_BYTES and has_more_keys(text, MAX_FIELDS):
        return TOO_MANY_KEYS
    return fields_of(text)


def fields_of(text: bytes) -> Fields | Fault:
    """The same where somebody has counted the keys."""
    fields = _FIELDS.decode(text)
    return fields if is_utf8(text) else _not_utf8(text)


def read_value(text: bytes) -> Fields | Fault:
    """The fields of the one value in `text`, or why it has none. Code invalid_json: it is not JSON at all."""
    try:
        return read_fields(text)
    except UnicodeDecodeError:
        return _not_utf8(text)
    except RecursionError:
        return TOO_DEEP
    except msgspec.DecodeError as error:
        if not is_utf8(text):
            return _not_utf8(text)
        if isinstance(error, msgspec.ValidationError) and _is_json(text):
            return NOT_AN_OBJECT
        if _SURROGATE.search(text) and _is_json(_SURROGATE.sub(rb"\\u00", text)):
            return Fault("invalid_unicode", *half_pair(text))
        reason = str(error).removeprefix("JSON is malformed: ")
        return broken(f"{reason}, in {text[:40].decode('utf-8', 'backslashreplace')!r}")


def broken(why: str) -> Fault:
    """Not JSON."""
    return Fault("invalid_json", None, f"This is not valid JSON: {why}.")


def is_utf8(text: bytes) -> bool:
    """msgspec does not look into the strings of a Raw."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _not_utf8(text: bytes) -> Fault:
    return Fault("invalid_utf8", *not_utf8(text))


def _is_json(text: bytes) -> bool:
    try:
        _VALUE.decode(text)
    except RecursionError:
        return True
    except msgspec.DecodeError:
        return False
    return True


LOOKED_AT_BYTES = 256 << 10
"""In a larger event the field is not looked for; the byte is told all the same."""
_FIELDS_LOOKED_AT = 1000
_LONGEST_NAME = 64

_SOUND = re.compile(
    rb"(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+", re.DOTALL
)


def not_utf8(text: bytes) -> tuple[str | None, str]:
    """Of bytes that do not decode."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        where = f"byte {error.start} of it is 0x{text[error.start]:02x}"
        return _field(text, error.start), f"The event is not valid UTF-8: {where}; encode all text as UTF-8."
    return None, "The event is not valid UTF-8; encode all text as UTF-8."


def half_pair(text: bytes) -> tuple[str | None, str]:
    """Of JSON in which some \\ud800 to \\udfff has no other half."""
    found = _SOUND.match(text)
    at = found.end() if found else 0
    what = text[at : at + 6].decode("ascii", "replace")
    return _field(text, at), f"A string holds half of a surrogate pair, which is no character: {what} at byte {at}."


def _field(text: bytes, at: int) -> str | None:
    if len(text) > LOOKED_AT_BYTES:
        return None
    name = name_at(text, at, _FIELDS_LOOKED_AT)
    return None if name is None else name.decode("utf-8", "backslashreplace")[:_LONGEST_NAME]
