"""Counts of events as a client sees them."""

import msgspec

from parsec.client.answers import Found


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """`count` events from `start` on for one interval; `by`: how many of them have which value."""

    start: str
    count: int
    by: dict[str, int] = {}


class Histogram(Found, frozen=True, kw_only=True):
    """Of `GET /query/histogram`: every bucket of the range, `interval_s` long, in order of time."""

    interval_s: int
    buckets: list[Bucket]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the events that have the values `by`; each under its name as it was asked for."""

    by: dict[str, str | None] = {}
    values: dict[str, int | float | str | None]


class Groups(Found, frozen=True, kw_only=True):
    """Of `GET /query/aggregate`, the greatest first."""

    groups: list[Group]


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A field, and how many events have it."""

    name: str
    count: int


class Fields(Found, frozen=True, kw_only=True):
    """Of `GET /query/fields`."""

    fields: list[Named]


class Valued(msgspec.Struct, frozen=True, kw_only=True):
    """A value as text, and how many events have it."""

    value: str
    count: int


class Values(Found, frozen=True, kw_only=True):
    """Of `GET /query/fields/{name}/values`."""

    values: list[Valued]
