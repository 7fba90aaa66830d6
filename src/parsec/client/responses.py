"""What a Parsec answers, as structs. Unknown fields are ignored, so that a newer server can be asked too."""

from typing import Any, TypeVar

import msgspec

from parsec.core.errors import Rejected

T = TypeVar("T")


class EventFound(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer about events says of itself: up to when it is complete, and which parts did not answer."""

    complete_until: str | None = None
    missing: list[Any] = []


class Page(EventFound, frozen=True, kw_only=True):
    """One page of `GET /query/events`: each event as the JSON bytes that came. `cursor` is None at the end."""

    events: list[msgspec.Raw]
    cursor: str | None = None


class Single(EventFound, frozen=True, kw_only=True):
    """Of `GET /query/events/{id}`."""

    event: msgspec.Raw


class Surroundings(EventFound, frozen=True, kw_only=True):
    """Of `GET /query/events/{id}/context`, all oldest first."""

    before: list[msgspec.Raw]
    event: msgspec.Raw
    after: list[msgspec.Raw]


def read(body: bytes, into: type[T], what: str = "one of a Parsec") -> T:
    """Raises Rejected: something else than a Parsec answered; `what` the answer should have been."""
    try:
        return msgspec.json.decode(body, type=into)
    except msgspec.DecodeError as error:
        raise Rejected("not_parsec", f"the answer is not {what}: {error}") from error


class Fates(msgspec.Struct, frozen=True, kw_only=True):
    """What became of offsets."""

    stored: int = 0
    duplicate: int = 0
    dead: int = 0
    lost: int = 0


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Offsets first..end-1 that do not add up: found less what the ledger says, and rows too many."""

    first: int
    end: int
    stored: int = 0
    dead: int = 0
    doubled: int = 0
    both: int = 0
    doubled_at: list[int] = []


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the log without a row, dead letter or first copy in the store."""

    offset: int
    tenant_id: str = ""
    id: str = ""


class Recount(msgspec.Struct, frozen=True, kw_only=True):
    """One partition: `ledger` and `found` are of offsets recounted_from..committed-1.

    `missing` is looked for offline only, as far back as the log goes.
    """

    partition: int
    log_id: str
    start: int
    committed: int
    recounted_from: int
    not_recounted: int
    ledger: Fates
    found: Fates
    unbalanced: int = 0
    difference: int
    where: list[Stretch] = []
    missing: list[Missing] = []


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """Of `GET /admin/audit`. `not_recounted`: offsets of which nobody can tell any more."""

    difference: int
    not_recounted: int
    recounted: int
    partitions: list[Recount]


class DeadLetterSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What could not become a row. `position` is `log_id/partition/offset`; the bytes come with `Client.dead_letter`.

    `raw` holds them where they are UTF-8, else `raw_base64` does.
    """

    position: str
    time: str
    reason: str
    tenant_id: str = ""
    stage: str = ""
    detail: str = ""
    raw_bytes: int = 0
    raw: str | None = None
    raw_base64: str | None = None


class LetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of `GET /deadletters`; `cursor` is None at the end."""

    dead_letters: list[DeadLetterSummary]
    cursor: str | None = None


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """`count` events from `start` on for one interval; `by`: how many of them have which value."""

    start: str
    count: int
    by: dict[str, int] = {}


class Histogram(EventFound, frozen=True, kw_only=True):
    """Of `GET /query/histogram`: every bucket of the range, `interval_s` long, in order of time."""

    interval_s: int
    buckets: list[Bucket]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the events that have the values `by`; each under its name as it was asked for."""

    by: dict[str, str | None] = {}
    values: dict[str, int | float | str | None]


class Groups(EventFound, frozen=True, kw_only=True):
    """Of `GET /query/aggregate`, the greatest first."""

    groups: list[Group]


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A field, and how many events have it."""

    name: str
    count: int


class Fields(EventFound, frozen=True, kw_only=True):
    """Of `GET /query/fields`."""

    fields: list[Named]


class Valued(msgspec.Struct, frozen=True, kw_only=True):
    """A value as text, and how many events have it."""

    value: str
    count: int


class Values(EventFound, frozen=True, kw_only=True):
    """Of `GET /query/fields/{name}/values`."""

    values: list[Valued]
