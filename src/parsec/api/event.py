"""An event as a client sends it and as an answer shows it.

Both structs describe JSON for the OpenAPI document. Neither is built per event: the body decoder
(parsec.ingest.body.decode) reads events its own way, and answers hold events as encoded JSON. Next: parsec.api.ingest.
"""

from typing import Annotated

import msgspec

from parsec.api.event_rules import MAX_ID_CHARS, MAX_METADATA_DEPTH, MAX_METADATA_KEYS, MAX_SOURCE_CHARS

TENANT_PATTERN = r"^\s*[A-Za-z0-9][A-Za-z0-9._-]{0,63}\s*$"
"""A tenant's name as it may be sent; it is trimmed and lowercased before it is used."""

_NotBlank = Annotated[str, msgspec.Meta(pattern=r"\S")]


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as a client sends it. Unknown fields move into `metadata`.

    A field may be absent when a query parameter, a header or the API key supplies it. `PARSEC_INGEST_LENIENT` fills in
    a missing timestamp, severity and source.
    """

    id: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS, description="Derived when absent.")] | None = None
    tenant_id: Annotated[str, msgspec.Meta(pattern=TENANT_PATTERN, description="Trimmed and lowercased.")] | None = None
    timestamp: Annotated[
        str | int | float,
        msgspec.Meta(
            description="RFC 3339 with any offset, or a number (or digits) of s, ms, us or ns since 1970; the unit "
            "follows from the magnitude. At most 24 hours ahead of the server's clock.",
            extra_json_schema={"format": "parsec-timestamp"},
        ),
    ]
    severity: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"\S",
                description="trace, debug, info, warn, error, fatal or what a usual logger writes; or a number, see "
                "severity_numbers. An unknown word, or a value of another type, becomes info and is kept in "
                "metadata._severity.",
                extra_json_schema={"format": "parsec-severity"},
            ),
        ]
        | float
        | bool
        | list[object]
        | dict[str, object]
        | None
    )
    source: Annotated[_NotBlank, msgspec.Meta(max_length=MAX_SOURCE_CHARS, description="Trimmed and lowercased.")]
    message: (
        Annotated[
            str | int | float | bool | list[object] | dict[str, object],
            msgspec.Meta(
                description="As sent, without one line end at its end. A list of bytes is decoded, another value "
                "kept as its JSON. May be absent or blank if there is metadata; else the event counts as blank."
            ),
        ]
        | None
    ) = None
    metadata: (
        Annotated[
            dict[str, object],
            msgspec.Meta(
                max_length=MAX_METADATA_KEYS,
                description=f"Nested up to {MAX_METADATA_DEPTH} levels, counting this one. Comes back exactly as sent.",
            ),
        ]
        | None
    ) = None


NEW_EVENT_SCHEMA = {"$ref": "#/components/schemas/NewEvent"}
NEW_EVENTS_SCHEMA = {"type": "array", "contains": NEW_EVENT_SCHEMA}


class NewEventBatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An array of events inside an object. Each event is accepted or rejected by itself."""

    events: Annotated[list[object], msgspec.Meta(extra_json_schema=dict(NEW_EVENTS_SCHEMA))]


class StoredEvent(msgspec.Struct, frozen=True):
    """An event as an answer shows it.

    With the parameter `fields` it has those fields only; a metadata path that the event lacks is null.
    """

    id: str | msgspec.UnsetType = msgspec.UNSET
    tenant_id: str | msgspec.UnsetType = msgspec.UNSET
    timestamp: str | msgspec.UnsetType = msgspec.UNSET
    severity: str | msgspec.UnsetType = msgspec.UNSET
    source: str | msgspec.UnsetType = msgspec.UNSET
    message: str | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, object] | msgspec.UnsetType = msgspec.UNSET
    received_at: str | msgspec.UnsetType = msgspec.UNSET


STORED_EVENT_SCHEMA = {"$ref": "#/components/schemas/StoredEvent"}

EventJson = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema=STORED_EVENT_SCHEMA)]
"""A StoredEvent as JSON bytes, which the client passes on as they came: only bytes keep integers of any length in the
metadata."""
