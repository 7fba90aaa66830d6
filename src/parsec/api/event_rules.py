"""The rules of an event, written once: length, spelling and range of each field.

In: one field as a sender wrote it. Out: its canonical form, which is what the log and the store hold. Errors: Rejected
with the code and the field that POST /ingest answers with.

Ingest applies these rules to every event. The processor accepts a record that another program wrote to Kafka only if
its fields are canonical already. The client's logging handler builds events that pass. Where one of them checks whole
columns for speed, a property test proves that it decides as the functions here do. Next: parsec.ingest.normalize.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec

from parsec.core.errors import Rejected
from parsec.core.severity import SCALES, SEVERITIES, Scale, severity_name

MAX_ID_CHARS = 128
MAX_SOURCE_CHARS = 256
MAX_METADATA_DEPTH = 32
"""Nested objects and arrays; the metadata object itself is the first."""
MAX_METADATA_KEYS = 256
"""At the top level, unknown fields of the event included."""
MAX_EVENT_BYTES = 256 << 10
"""Size of the encoded event, unless PARSEC_MAX_EVENT_BYTES says otherwise."""

MAX_AHEAD_S = 86_400
"""A timestamp may be at most this far ahead of the clock of the server that receives the event."""
MAX_STORED_AHEAD_S = MAX_AHEAD_S + 600
"""The same for a stored row, with ten minutes of tolerance between the clocks of two machines. A query for timestamps
from T on skips what was received before T minus this."""

TENANT_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""Canonical tenant names."""
TENANT_RULE = "use 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit"

_NAMES = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MIN_BYTES_PER_KEY = 5  # "":0,
MAX_UNCOUNTED_BYTES = MAX_METADATA_KEYS * _MIN_BYTES_PER_KEY
"""An object of fewer bytes cannot have too many keys."""

BRACKETS = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+([{\[]++|[}\]]++)', re.DOTALL)
"""Up to the next run of opening or of closing brackets outside of strings; the run is group 1."""


def tenant_name(text: str) -> str | None:
    """The canonical name of a tenant, or None if `text` names none.

    Text that is not ASCII is refused before lower-casing, which turns some such letters into ASCII: the name of one
    tenant must not become the name of another.
    """
    name = text.strip()
    lowered = name.lower()
    return lowered if name.isascii() and TENANT_NAME.fullmatch(lowered) else None


def tenant(text: str) -> str:
    """Trimmed and in lower case. Raises Rejected(missing_field, invalid_tenant_id)."""
    name = tenant_name(text)
    if name is None:
        if not text.strip():
            raise missing("tenant_id")
        message = f"tenant_id {text.strip()[:64]!r} is not valid; {TENANT_RULE}."
        raise Rejected("invalid_tenant_id", message, field="tenant_id")
    return name


def source(text: str) -> str:
    """Trimmed and in lower case, 1 to MAX_SOURCE_CHARS characters. Raises Rejected(missing_field, invalid_source)."""
    name = text.strip().lower()
    if not name:
        raise missing("source")
    if len(name) > MAX_SOURCE_CHARS:
        raise Rejected("invalid_source", _too_long("source", len(name), MAX_SOURCE_CHARS), field="source")
    return name


def severity(text: str, scale: Scale | None = None) -> str:
    """One of SEVERITIES, from any spelling. `scale`: whose numbers.

    Raises Rejected(missing_field, invalid_severity).
    """
    name = severity_name(text, scale)
    if name is None:
        if not text.strip():
            raise missing("severity")
        message = f"severity {text.strip()[:64]!r} is unknown; send one of {', '.join(SEVERITIES)}."
        raise Rejected("invalid_severity", message, field="severity")
    return name


def event_id(text: str) -> str:
    """As sent, 1 to MAX_ID_CHARS characters. Raises Rejected(missing_field, invalid_id)."""
    if not text:
        raise missing("id")
    if len(text) > MAX_ID_CHARS:
        raise Rejected("invalid_id", _too_long("id", len(text), MAX_ID_CHARS), field="id")
    return text


def message(text: str) -> str:
    """As sent, without one line end at its end; empty if it is blank."""
    if not text.strip():
        return ""
    return text.removesuffix("\r\n") if text.endswith("\r\n") else text.removesuffix("\n")


def is_blank(message: str, metadata: bytes | msgspec.Raw) -> bool:
    """Whether an event says nothing: a blank message and an empty object as metadata. Such an event is not stored."""
    return not message.strip() and not bytes(metadata).strip(b"{} \t\r\n")


def check_metadata(text: bytes) -> None:
    """Check that `text`, valid JSON in UTF-8, is an object that is neither too deep nor too wide.

    Raises Rejected(invalid_metadata, too_deep, too_many_keys).
    """
    require_object(text)
    if nests_deeper(text, MAX_METADATA_DEPTH):
        raise Rejected(
            "too_deep", f"metadata nests deeper than {MAX_METADATA_DEPTH} levels; flatten it.", field="metadata"
        )
    if len(text) >= MAX_UNCOUNTED_BYTES:
        check_key_count(len(_NAMES.decode(text)))


def require_object(text: bytes) -> None:
    """Raises Rejected(invalid_metadata)."""
    if not text.startswith(b"{"):
        raise Rejected(
            "invalid_metadata", 'metadata must be a JSON object; wrap it as {"value": ...}.', field="metadata"
        )


def check_key_count(count: int) -> None:
    """Raises Rejected(too_many_keys)."""
    if count > MAX_METADATA_KEYS:
        why = f"metadata has {count} keys at its top level, unknown fields included"
        raise Rejected("too_many_keys", f"{why}; at most {MAX_METADATA_KEYS} are allowed.", field="metadata")


def nests_deeper(value: bytes, limit: int) -> bool:
    """Whether brackets nest more than `limit` deep in this valid JSON value. Does not recurse."""
    if value.count(b"{") + value.count(b"[") <= limit:
        return False
    at = depth = 0
    while found := BRACKETS.match(value, at):
        start, at = found.span(1)
        depth += at - start if value[start] in b"{[" else start - at
        if depth > limit:
            return True
    return False


def missing(field: str) -> Rejected:
    """For a required field that is absent, null or blank."""
    return Rejected("missing_field", f"{field} is missing or blank; every event needs one.", field=field)


def _too_long(field: str, chars: int, most: int) -> str:
    return f"{field} has {chars} characters; at most {most} are allowed."


def too_large(max_bytes: int) -> Rejected:
    """For an event that is too large once it is encoded."""
    return Rejected(
        "event_too_large", f"The event is larger than {max_bytes} bytes; shorten the message or the metadata."
    )


CACHE_ENTRIES = 4096
"""A cache is emptied when it is full, so that a sender who makes up names cannot grow it."""
_MAX_CACHED_CHARS = 300

Value = TypeVar("Value")


class Cache(dict[str, Value]):
    """Results of a rule. Millions of events share a few tenants, sources and severities: a known text costs one look-up
    and no call. What the rule raises is not kept."""

    def __init__(self, rule: Callable[[str], Value]) -> None:
        super().__init__()
        self._rule = rule

    def __missing__(self, text: str) -> Value:
        value = self._rule(text)
        if len(text) <= _MAX_CACHED_CHARS:
            if len(self) >= CACHE_ENTRIES:
                self.clear()
            self[text] = value
        return value


TENANTS = Cache(tenant)
SOURCES = Cache(source)
SEVERITY_NAMES = Cache(severity)
SEVERITY_NUMBERS: dict[Scale | None, Cache[str]] = {scale: Cache(partial(severity, scale=scale)) for scale in SCALES}
SEVERITY_NUMBERS[None] = SEVERITY_NAMES
"""The same by the scale of the numbers."""
