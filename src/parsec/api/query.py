"""The answers (only the answers) of GET /query/... and GET /deadletters; parsec.api.parameters has the requests.

Every answer about events ends with `complete_until` and `missing`, so that a partial one says so. Next:
parsec.api.audit.
"""

from collections.abc import Sequence

import msgspec

from parsec.api.event import EventJson

COMPLETE_UNTIL_HEADER = "Parsec-Complete-Until"
MISSING_HEADER = "Parsec-Missing"
CURSOR_HEADER = "Parsec-Cursor"
"""JSON lines and CSV have no place for these fields, so they are headers there; Parsec-Missing is a JSON list."""


class Completeness(msgspec.Struct, frozen=True, kw_only=True):
    """Everything accepted before `complete_until` was searchable; `missing` says in sentences what may be missing."""

    complete_until: str
    missing: Sequence[str]


class RangeAnswer(Completeness, frozen=True, kw_only=True):
    """An answer about the events from `from` (inclusive) to `to` (exclusive), both RFC 3339.

    `latest_event`: only when nothing was found, the timestamp of the tenant's latest event in any range; null when the
    tenant has no events.
    """

    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    latest_event: str | None = None


class EventPage(RangeAnswer, frozen=True):
    """A page of events. `cursor` asks for the next page and is null after the last."""

    events: Sequence[EventJson]
    cursor: str | None


class EventAnswer(Completeness, frozen=True):
    """The newest event with an id."""

    event: EventJson


class EventContext(Completeness, frozen=True):
    """An event and its neighbours of the same source, all oldest first."""

    before: Sequence[EventJson]
    event: EventJson
    after: Sequence[EventJson]


class HistogramBucket(msgspec.Struct, frozen=True):
    """`count` events from `start` (RFC 3339) on, for one interval. `by`: events per value, the most frequent first."""

    start: str
    count: int
    by: dict[str, int]


class Histogram(RangeAnswer, frozen=True):
    """Every bucket of the range in order of time; each begins at a multiple of `interval_s` seconds since 1970."""

    interval_s: int
    buckets: Sequence[HistogramBucket]


class AggregateGroup(msgspec.Struct, frozen=True):
    """The values of the fields in `by`, null where an event has none, and the figures by the names of the metrics."""

    by: dict[str, str | None]
    values: dict[str, int | float | str | None]


class AggregateAnswer(RangeAnswer, frozen=True):
    """Groups, the greatest first."""

    groups: Sequence[AggregateGroup]


class FieldCount(msgspec.Struct, frozen=True):
    """A field and the number of events that have it."""

    name: str
    count: int


class FieldList(RangeAnswer, frozen=True):
    """The fixed fields first, then paths of the metadata."""

    fields: Sequence[FieldCount]


class ValueCount(msgspec.Struct, frozen=True):
    """A value as text and the number of events that have it."""

    value: str
    count: int


class ValueList(RangeAnswer, frozen=True):
    """Values, the most frequent first."""

    values: Sequence[ValueCount]


def found_nothing(answer: RangeAnswer) -> bool:
    """Whether no event is in the answer."""
    match answer:
        case EventPage():
            return not answer.events
        case Histogram():
            return not any(bucket.count for bucket in answer.buckets)
        case AggregateAnswer():
            return not any(group.by or any(group.values.values()) for group in answer.groups)
        case FieldList():
            return not answer.fields
        case ValueList():
            return not answer.values
    raise TypeError(f"{type(answer).__name__} is no answer about a range")


class TailGap(msgspec.Struct, frozen=True):
    """The data of `event: gap` in a tail: events that a slow reader missed (`skipped`), and events that were not
    compared with its filter (`unchecked`)."""

    skipped: int = 0
    unchecked: int = 0


class TailEnd(msgspec.Struct, frozen=True):
    """The data of `event: end` in a tail."""

    why: str


class DeadLetterSummary(msgspec.Struct, frozen=True):
    """A record that could not become a row. `position` is `log_id/partition/offset`; `stage` is where it failed."""

    position: str
    time: str
    tenant_id: str
    reason: str
    stage: str
    detail: str
    raw_bytes: int


class DeadLetterDetail(DeadLetterSummary, frozen=True, omit_defaults=True):
    """A dead letter with its bytes: `raw` when they are UTF-8, else `raw_base64`."""

    raw: str | None = None
    raw_base64: str | None = None


class DeadLetterPage(msgspec.Struct, frozen=True):
    """The newest first. `cursor` asks for the next page and is null after the last."""

    dead_letters: Sequence[DeadLetterSummary]
    cursor: str | None
