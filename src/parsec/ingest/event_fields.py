"""The fields of one event by all rules, for events that the fast path cannot decide.

In: the raw fields of an event, and the Context of its request. Out: canonical values. Errors: Rejected.
Next: parsec.ingest.normalize.
"""

import msgspec

from parsec.api import event_rules
from parsec.api.event_rules import SEVERITY_NUMBERS
from parsec.core.errors import Rejected
from parsec.core.timestamp import read_number, read_text
from parsec.ingest import field_mapping
from parsec.ingest.body.fast_path import NO_METADATA, Fields
from parsec.ingest.event_ids import EventIds
from parsec.ingest.field_mapping import FieldMap, is_null, pick, read_string, unknown_fields

_ENCODER = msgspec.json.Encoder()

UNKNOWN_SEVERITY = "info"
"""For an event with an unknown severity, unless the URL names another."""


class Context(msgspec.Struct, frozen=True):
    """What the events of one request share. `latest_s`: the last second that a timestamp may name. `overhead_bytes`: of
    an encoded envelope, at most, without message and metadata."""

    fields: FieldMap
    default_tenant: str
    key_tenant: str
    received_at: str
    latest_s: int
    region: str
    node: str
    lenient: bool
    max_event_bytes: int
    overhead_bytes: int
    ids: EventIds
    strict_severity: bool = False


def timestamp(text: bytes, context: Context) -> str:
    """'' when it is absent and PARSEC_INGEST_LENIENT fills it in."""
    if text.startswith(b'"'):
        stamp = read_string(text, "timestamp").strip()
        if stamp:
            return read_text(stamp, context.latest_s)
    elif text:
        if text[0] not in b"-0123456789":
            raise Rejected("invalid_timestamp", "timestamp must be a string or a number.", field="timestamp")
        return read_number(text.decode(), context.latest_s)
    if context.lenient:
        return ""
    raise event_rules.missing("timestamp")


def severity(fields: Fields, used: set[str], context: Context) -> tuple[str, bytes]:
    """One of SEVERITIES, and the JSON of the sent value if it is unknown, else b"". Raises Rejected."""
    names = context.fields
    sent = pick(fields, names.severity, used)
    default = names.default_severity or ("info" if context.lenient else "")
    known = SEVERITY_NUMBERS[names.severity_numbers]
    is_text = sent.startswith(b'"')
    text = read_string(sent, "severity").strip() if is_text else sent.decode()
    if not text:
        if default or context.strict_severity or not is_null(fields, names.severity):
            return known[default], b""
        return UNKNOWN_SEVERITY, b"null"
    try:
        if sent[0] not in b'"-0123456789':
            raise Rejected(
                "invalid_severity", f"severity must be a word or a number, not {text[:40]}.", field="severity"
            )
        return known[text], b""
    except Rejected:
        if context.strict_severity:
            raise
        return default or UNKNOWN_SEVERITY, sent


def with_word(extra: msgspec.Raw, word: bytes, context: Context) -> msgspec.Raw:
    """The metadata with an unknown severity as `_severity`, as text if it nests too deep. Metadata with the maximum
    number of keys stays unchanged. Raises Rejected(event_too_large)."""
    for value in (word, _ENCODER.encode(word.decode())):
        try:
            joined = field_mapping.join(bytes(extra), {"_severity": msgspec.Raw(value)}, context.max_event_bytes)
            return msgspec.Raw(field_mapping.check(joined, context.max_event_bytes))
        except Rejected as why:
            if why.code == "event_too_large":
                raise
    return extra


def metadata(fields: Fields, used: set[str], context: Context) -> msgspec.Raw:
    """As sent, on one line, with the unknown fields of the event. Raises Rejected."""
    raw = fields.get("metadata", NO_METADATA)
    own = bytes(raw)
    own = bytes(NO_METADATA) if own == b"null" else own
    unknown = unknown_fields(fields, used)
    if unknown:
        own = field_mapping.join(own, unknown, context.max_event_bytes)
    return msgspec.Raw(field_mapping.check(own, context.max_event_bytes))
