"""The bodies of answers to questions, as they are sent; each is sent as one object with Completeness."""

from typing import Annotated

import msgspec

from parsec.query.sql.aggregate import Group
from parsec.query.sql.facets import Counted


class Completeness(msgspec.Struct, frozen=True):
    """Everything accepted before `complete_until` was searchable; `missing` names parts that did not answer."""

    complete_until: str
    missing: list[str]


class StoredEvent(msgspec.Struct, frozen=True):
    """An event as it is found. With `fields` it has these, a name of the metadata that it lacks as null."""

    id: str | msgspec.UnsetType = msgspec.UNSET
    tenant_id: str | msgspec.UnsetType = msgspec.UNSET
    timestamp: str | msgspec.UnsetType = msgspec.UNSET
    severity: str | msgspec.UnsetType = msgspec.UNSET
    source: str | msgspec.UnsetType = msgspec.UNSET
    message: str | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, object] | msgspec.UnsetType = msgspec.UNSET
    received_at: str | msgspec.UnsetType = msgspec.UNSET


_EVENT = {"$ref": "#/components/schemas/StoredEvent"}


class EventPage(msgspec.Struct, frozen=True):
    """`cursor` asks for the next page and is null after the last."""

    events: Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "array", "items": _EVENT})]
    cursor: str | None


class EventFound(msgspec.Struct, frozen=True):
    """The newest event of an id."""

    event: Annotated[dict[str, object], msgspec.Meta(extra_json_schema=_EVENT)]


class Groups(msgspec.Struct, frozen=True):
    """The greatest first."""

    groups: list[Group]


class Fields(msgspec.Struct, frozen=True):
    """The fixed ones first, then names of the metadata."""

    fields: list[Counted]


class Value(msgspec.Struct, frozen=True):
    """A value as text, and how many events have it."""

    value: str
    count: int


class Values(msgspec.Struct, frozen=True):
    """The most frequent first."""

    values: list[Value]
