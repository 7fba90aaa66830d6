"""Where the text of an event is no text: which byte, and which field it is in.

In: an object that another module found not to be UTF-8, or to hold half of a surrogate pair. Out: that field's name,
None where it cannot be told, and a sentence. Errors: none. Sound events never come here. Next: parsec.ingest.event.
"""

import re

from parsec.ingest.scan import name_at

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
