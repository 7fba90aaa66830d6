"""The envelope: one normalised event as the broker carries it, one flat JSON object per line.

In: normalised fields (parsec.ingest.normalize). Out: bytes that ClickHouse, Flink or kcat can read as they are.
Errors: EnvelopeError for bytes that are not an envelope of a known version. Next: parsec.ports.broker.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

SCHEMA_VERSION = 1


class Envelope(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=False):
    """A normalised event. Strings are trimmed and bounded; see docs/api.md.

    `timestamp` and `received_at` are RFC 3339 in UTC with `Z` and 0 to 9 digits of fraction. `metadata` is the
    JSON object as the sender wrote it, on one line. `v` is the schema version.
    """

    v: int
    tenant_id: str
    id: str
    timestamp: str
    severity: str
    source: str
    message: str
    metadata: msgspec.Raw
    received_at: str
    region: str
    node: str


class EnvelopeError(ValueError):
    """Bytes that are not an envelope: not JSON, a field missing or of another type, an unknown version."""


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Envelope)


encode_lines: Callable[[Sequence[Envelope]], bytes] = _ENCODER.encode_lines
"""One JSON object per envelope, each ended by a newline; no newline inside an object."""

encode_one: Callable[[Envelope], bytes] = _ENCODER.encode
"""One JSON object without the newline."""


def by_tenant(envelopes: Sequence[Envelope]) -> Mapping[str, int]:
    """Number of events per tenant, in order of their first events; usually there is one tenant."""
    names = {envelope.tenant_id for envelope in envelopes}
    return {names.pop(): len(envelopes)} if len(names) == 1 else Counter(one.tenant_id for one in envelopes)


def decode_one(line: bytes) -> Envelope:
    """The envelope in `line`. Raises EnvelopeError."""
    try:
        envelope = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EnvelopeError(str(error)) from error
    if envelope.v != SCHEMA_VERSION:
        raise EnvelopeError(f"schema version {envelope.v} is not {SCHEMA_VERSION}")
    return envelope


def decode_all(lines: Sequence[bytes]) -> list[Envelope]:
    """The envelopes of at least one record, faster than one by one. Raises EnvelopeError if any record is not one."""
    text = b"\n".join(lines)
    try:
        envelopes = _DECODER.decode_lines(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EnvelopeError(str(error)) from error
    if len(envelopes) != len(lines) or text.count(b"\n") != len(lines) - 1:
        raise EnvelopeError("a record is not one envelope on one line")
    if {envelope.v for envelope in envelopes} != {SCHEMA_VERSION}:
        raise EnvelopeError(f"a schema version is not {SCHEMA_VERSION}")
    return envelopes
