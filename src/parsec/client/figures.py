"""Counts of events as a client sees them. All say up to when they are complete, and what is `missing`."""

from typing import Any

import msgspec


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """`count` events from `start` on for one interval; `by`: how many of them have which value."""

    start: str
    count: int
    by: dict[str, int] = {}


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """Of `GET /query/histogram`: every bucket of the range, `interval_s` long, in order of time."""

    interval_s: int
    buckets: list[Bucket]
    complete_until: str | None = None
    missing: list[Any] = []


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A field, and how many events have it."""

    name: str
    count: int


class Fields(msgspec.Struct, frozen=True, kw_only=True):
    """Of `GET /query/fields`."""

    fields: list[Named]
    complete_until: str | None = None
    missing: list[Any] = []


class Valued(msgspec.Struct, frozen=True, kw_only=True):
    """A value as text, and how many events have it."""

    value: str
    count: int


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """Of `GET /query/fields/{name}/values`."""

    values: list[Valued]
    complete_until: str | None = None
    missing: list[Any] = []
