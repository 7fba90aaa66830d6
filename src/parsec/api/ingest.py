"""The answer of POST /ingest, and every error code that it can contain.

`Code.status` is None for codes that are a verdict on one event: the request's status is then 200 when any other event
was accepted, else 400. docs/errors.md explains the same list; a test keeps them equal. Next: parsec.api.problem.
"""

from collections.abc import Sequence

import msgspec

from parsec.api.event_rules import MAX_ID_CHARS, MAX_METADATA_DEPTH, MAX_METADATA_KEYS, MAX_SOURCE_CHARS


class IngestError(msgspec.Struct, frozen=True):
    """Why an event was rejected, or the whole request, which then has `index` null. docs/errors.md lists the codes."""

    index: int | None
    id: str | None
    code: str
    field: str | None
    message: str
    retryable: bool = False


class IngestAnswer(msgspec.Struct, frozen=True):
    """`success`: no event was rejected. `ack`: how safe the accepted ones are, `durable`, `enqueued` or `spooled`.
    `blank`: events without message and metadata, which are not stored.

    `errors` has at most 100 entries; `errors_truncated` says that there were more.
    """

    success: bool
    ack: str
    accepted: int
    rejected: int
    errors: Sequence[IngestError]
    blank: int = 0
    errors_truncated: bool | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(IngestAnswer)


def decode_ingest_answer(body: bytes) -> IngestAnswer | None:
    """None when the body is no answer of POST /ingest but a problem, or a proxy's page."""
    try:
        return _DECODER.decode(body)
    except msgspec.DecodeError:
        return None


class Code(msgspec.Struct, frozen=True):
    """`retryable`: the same request may succeed later, after `Retry-After`."""

    meaning: str
    status: int | None = None
    retryable: bool = False


CODES: dict[str, Code] = {
    # The body as a whole.
    "no_events": Code("The body contains no event.", 400),
    "invalid_json": Code("The body, or this part of it, is not JSON.", 400),
    "invalid_utf8": Code("The text is not UTF-8.", 400),
    "too_many_events": Code("The request has too many events.", 413),
    "payload_too_large": Code("The body is too large, before or after decompression.", 413),
    "unsupported_encoding": Code("Content-Encoding is not gzip, deflate or zstd, or the body is not text.", 415),
    "invalid_encoding": Code(
        "The compressed body is damaged or incomplete, or no Content-Encoding says how it is compressed.", 400
    ),
    "unknown_field": Code("A batch object has fields beside `events`.", 400),
    "unknown_parameter": Code("The URL has an unknown parameter.", 400),
    "invalid_parameter": Code("A parameter in the URL has an invalid value.", 400),
    "repeated_header": Code("A header that may be sent once is sent twice.", 400),
    "body_too_slow": Code("The body did not arrive in time.", 408),
    "method_not_allowed": Code("Events must be sent with POST.", 405),
    "missing_api_key": Code("An API key is required, and the request has none.", 401),
    "invalid_api_key": Code("The API key is mistyped, unknown, revoked or expired.", 401),
    "missing_scope": Code("The API key does not permit sending events.", 403),
    # One event.
    "not_an_object": Code("An event is not a JSON object."),
    "missing_field": Code("A required field is absent, null or blank."),
    "invalid_id": Code(f"The id is not a string of at most {MAX_ID_CHARS} characters."),
    "invalid_tenant_id": Code("The tenant name is not valid.", 400),
    "tenant_mismatch": Code("The event or X-Tenant-ID names a tenant other than the API key's.", 403),
    "invalid_timestamp": Code("The timestamp is unreadable or before 1970."),
    "timestamp_in_future": Code("The timestamp is more than 24 hours ahead of the server's clock."),
    "invalid_severity": Code("The severity is not a known word, with PARSEC_STRICT_SEVERITY or in the URL.", 400),
    "invalid_source": Code(f"The source is not a string of at most {MAX_SOURCE_CHARS} characters.", 400),
    "invalid_metadata": Code("The metadata is not an object."),
    "too_deep": Code(f"The metadata is nested deeper than {MAX_METADATA_DEPTH} levels."),
    "too_many_keys": Code(f"The metadata has more than {MAX_METADATA_KEYS} keys at its top level."),
    "invalid_unicode": Code("A string contains a lone surrogate."),
    "event_too_large": Code("The event is too large."),
    # The state of the server.
    "queue_full": Code("Events arrive faster than they can be made durable.", 429, retryable=True),
    "rate_limited": Code("A tenant has used up its events or bytes for now.", 429, retryable=True),
    "too_many_bodies": Code("The bodies of other requests use up the memory for bodies.", 429, retryable=True),
    "internal": Code("A bug in Parsec; its log has the details.", 500),
    "not_durable": Code("The events could not be made durable in time.", 503, retryable=True),
    "unavailable": Code(
        "Nothing can be made durable now: Parsec is stopping, or the disk is full.", 503, retryable=True
    ),
}

CONTENT_CODES = frozenset({
    "no_events", "invalid_json", "invalid_utf8", "invalid_unicode", "too_many_events", "payload_too_large",
    "unsupported_encoding", "invalid_encoding", "unknown_field", "event_too_large", "http_413",
})  # fmt: skip
"""Codes of a request that is refused as a whole for its body: another part of the same input may be accepted.
`http_413` is a proxy's answer."""
