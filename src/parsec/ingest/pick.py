"""One field out of an event, by the names that may hold it.

In: the fields of one event as raw JSON. Out: raw JSON or text; '' and None where there is nothing. Errors:
Rejected(invalid_<field>, missing_field). Next: parsec.ingest.normalize.
"""

from collections.abc import Sequence

import msgspec

from parsec.core.errors import Rejected
from parsec.ingest.event import UNREADABLE, Fields
from parsec.ingest.fields import STANDARD
from parsec.ingest.vocabulary import missing

_TEXT = msgspec.json.Decoder(str)
_FIELDS = msgspec.json.Decoder(Fields)
_NOTHING = frozenset((b"null", b'""'))
_STANDARD = frozenset(STANDARD)


def pick(fields: Fields, names: Sequence[str], used: set[str]) -> bytes:
    """The JSON of the first of `names` that holds something; empty if none does.

    Its name is added to `used`, unless it is a path: what it leads to stays in place as well.
    """
    for name in names:
        raw = fields.get(name)
        if raw is not None:
            text = bytes(raw)
            if text not in _NOTHING:
                used.add(name)
                return text
        elif "." in name and (raw := _nested(fields, name)) is not None:
            text = bytes(raw)
            if text not in _NOTHING:
                return text
    return b""


def pick_text(fields: Fields, names: Sequence[str], field: str, used: set[str]) -> str:
    """The string in the first of `names` that holds something; '' if none does."""
    text = pick(fields, names, used)
    return read_string(text, field) if text else ""


def read_string(text: bytes, field: str) -> str:
    """The string that this JSON is."""
    try:
        return _TEXT.decode(text)
    except msgspec.ValidationError:
        shown = text[:40].decode("utf-8", "replace")
        raise Rejected(f"invalid_{field}", f"{field} must be a string, not {shown}.", field=field) from None


def required_text(fields: Fields, names: Sequence[str], field: str, used: set[str]) -> str:
    """The same, trimmed; nothing left of it is an error."""
    text = pick_text(fields, names, field, used).strip()
    if not text:
        raise missing(field)
    return text


def unknown_fields(fields: Fields, used: set[str]) -> Fields:
    """All fields but those used, to go into metadata; standard ones only if they hold something."""
    return {
        name: raw
        for name, raw in fields.items()
        if name not in used and (name not in _STANDARD or (name != "metadata" and bytes(raw) not in _NOTHING))
    }


def _nested(fields: Fields, path: str) -> msgspec.Raw | None:
    """By a path of names; each step must be an object."""
    *steps, last = path.split(".")
    for step in steps:
        raw = fields.get(step)
        if raw is None or not bytes(raw).startswith(b"{"):
            return None
        try:
            fields = _FIELDS.decode(raw)
        except UNREADABLE:
            return None
    return fields.get(last)
