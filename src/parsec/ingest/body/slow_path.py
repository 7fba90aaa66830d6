"""One event at a time: its fields, or the reason why it is rejected.

In: the bytes of one value. Out: `Fields`, or a `Fault` in the place of the event. Errors: those of UNREADABLE, where
named. Next: parsec.ingest.normalize.
"""

import re

import msgspec

from parsec.api.event_rules import MAX_METADATA_DEPTH
from parsec.ingest.body.bad_json import why_no_json
from parsec.ingest.body.fast_path import QUICK_BYTES, Fault, Fields, is_utf8
from parsec.ingest.body.scan import has_more_keys, name_at

MAX_FIELDS = 10_000
"""Fields of one event that are read. More would be refused for its keys or its size in any case."""

NOT_AN_OBJECT = Fault("not_an_object", None, 'An event must be a JSON object, such as {"message": "..."}.')
TOO_DEEP = Fault("too_deep", None, f"The event is nested too deep; metadata may have {MAX_METADATA_DEPTH} levels.")
TOO_MANY_KEYS = Fault("too_many_keys", None, f"The event has more than {MAX_FIELDS} fields; nest or drop some.")

_FIELDS = msgspec.json.Decoder(Fields)
_VALUE = msgspec.json.Decoder(msgspec.Raw)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def read_fields(text: bytes) -> Fields | Fault:
    """Of one object. Raises one of UNREADABLE; `read_value` then says why."""
    if len(text) > QUICK_BYTES and has_more_keys(text, MAX_FIELDS):
        return TOO_MANY_KEYS
    return fields_of(text)


def fields_of(text: bytes) -> Fields | Fault:
    """The same without counting the keys first."""
    fields = _FIELDS.decode(text)
    return fields if is_utf8(text) else _not_utf8(text)


def read_value(text: bytes) -> Fields | Fault:
    """The fields of the value in `text`, or why it has none. Code invalid_json: `text` is not JSON."""
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
            return _half_pair(text)
        return broken(why_no_json(text, error))


def broken(why: str) -> Fault:
    """For bytes that are not JSON."""
    return Fault("invalid_json", None, f"This is not valid JSON: {why}.")


def _is_json(text: bytes) -> bool:
    try:
        _VALUE.decode(text)
    except RecursionError:
        return True
    except msgspec.DecodeError:
        return False
    return True


MAX_SCANNED_BYTES = 256 << 10
"""Of a larger event only the bad byte is reported, not its field."""
_MAX_SCANNED_FIELDS = 1000
_MAX_NAME_CHARS = 64

_SOUND = re.compile(
    rb"(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+", re.DOTALL
)


def _not_utf8(text: bytes) -> Fault:
    """`text` does not decode."""
    field, where = None, ""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        field, where = _field(text, error.start), f": byte {error.start} of it is 0x{text[error.start]:02x}"
    return Fault("invalid_utf8", field, f"The event is not valid UTF-8{where}; encode all text as UTF-8.")


def _half_pair(text: bytes) -> Fault:
    """`text` is JSON in which some \\ud800 to \\udfff has no other half."""
    found = _SOUND.match(text)
    at = found.end() if found else 0
    what = text[at : at + 6].decode("ascii", "replace")
    why = f"A string contains a lone surrogate: {what} at byte {at}; send complete characters."
    return Fault("invalid_unicode", _field(text, at), why)


def _field(text: bytes, at: int) -> str | None:
    if len(text) > MAX_SCANNED_BYTES:
        return None
    name = name_at(text, at, _MAX_SCANNED_FIELDS)
    return None if name is None else name.decode("utf-8", "backslashreplace")[:_MAX_NAME_CHARS]
