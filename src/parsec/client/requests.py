"""Every question that a client may ask: where it goes, and how its answer is read.

In: keywords. Out: a Question, which Client and AsyncClient take. Errors: ValueError for an address that cannot be.
`start` is inclusive, `end` exclusive, both RFC 3339, epoch or relative as `-2h`; absent, the last hour is meant. `q` is
an expression of docs/query-language.md; None: all events. `tenant` is needed unless the key names it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from parsec.client.responses import (
    Audit,
    DeadLetterSummary,
    Fields,
    Groups,
    Histogram,
    LetterPage,
    Page,
    Single,
    Surroundings,
    Values,
    read,
)
from parsec.core.errors import Rejected

Order = Literal["newest", "oldest"]
T = TypeVar("T")


class Question(msgspec.Struct, Generic[T], frozen=True):
    """`path` with its parameters; `read` raises Rejected for what no Parsec answers."""

    path: str
    read: Callable[[bytes], T]


def events(
    tenant: str | None = None,
    *,
    q: str | None = None,
    start: str | None = None,
    end: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
    order: Order = "newest",
    fields: Sequence[str] = (),
) -> Question[Page]:
    """One page of events, newest first by default; `fields` says what to show of each, all when empty."""
    asked = {**_scope(tenant, q, start, end), "limit": str(limit), "cursor": cursor}
    asked |= {"order": None if order == "newest" else order, "fields": ",".join(fields) or None}
    return Question(address("/query/events", asked), partial(read, into=Page, what="a page of events"))


def histogram(
    tenant: str | None = None,
    *,
    q: str | None = None,
    start: str | None = None,
    end: str | None = None,
    interval_s: int | None = None,
    by: str | None = None,
) -> Question[Histogram]:
    """How many events in each stretch of time, and how many of them have which value of the field `by`."""
    asked = {**_scope(tenant, q, start, end), "by": by, "interval": None if interval_s is None else str(interval_s)}
    return Question(address("/query/histogram", asked), partial(read, into=Histogram))


def aggregate(
    tenant: str | None = None,
    *,
    metrics: Sequence[str] = ("count",),
    by: Sequence[str] = (),
    q: str | None = None,
    start: str | None = None,
    end: str | None = None,
    top: int | None = None,
) -> Question[Groups]:
    """Figures as `count`, `distinct(source)`, `p95(metadata.ms)`; by up to three fields, the `top` groups."""
    asked = {**_scope(tenant, q, start, end), "metric": metrics, "by": by, "top": None if top is None else str(top)}
    return Question(address("/query/aggregate", asked), partial(read, into=Groups))


def fields(
    tenant: str | None = None, *, q: str | None = None, start: str | None = None, end: str | None = None
) -> Question[Fields]:
    """Which fields events have, and how many events have each."""
    return Question(address("/query/fields", _scope(tenant, q, start, end)), partial(read, into=Fields))


def values(
    field: str,
    tenant: str | None = None,
    *,
    q: str | None = None,
    start: str | None = None,
    end: str | None = None,
    limit: int = 100,
) -> Question[Values]:
    """Which values a field has, the most frequent first."""
    asked = {**_scope(tenant, q, start, end), "limit": str(limit)}
    return Question(address(f"/query/fields/{quote(field, safe='')}/values", asked), partial(read, into=Values))


def event(id: str, tenant: str | None = None) -> Question[Single]:  # noqa: A002  the name of the field
    """The newest event with this id. Rejected(not_found)."""
    return Question(address(f"/query/events/{quote(id, safe='')}", {"tenant": tenant}), partial(read, into=Single))


def context(
    id: str,  # noqa: A002  the name of the field
    tenant: str | None = None,
    *,
    before: int = 10,
    after: int = 10,
) -> Question[Surroundings]:
    """What the same source said just before and after an event, oldest first. Rejected(not_found)."""
    asked = {"tenant": tenant, "before": str(before), "after": str(after)}
    return Question(address(f"/query/events/{quote(id, safe='')}/context", asked), partial(read, into=Surroundings))


def dead_letters(
    tenant: str | None = None,
    *,
    start: str | None = None,
    end: str | None = None,
    reason: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Question[LetterPage]:
    """One page of what could not become a row, newest first; of all times unless told otherwise.

    `tenant` "-" asks for those that do not tell whose they are.
    """
    asked = {"tenant": tenant, "from": start, "to": end, "reason": reason, "limit": str(limit), "cursor": cursor}
    return Question(address("/deadletters", asked), partial(read, into=LetterPage))


def dead_letter(position: str, tenant: str | None = None) -> Question[DeadLetterSummary]:
    """The letter at this `log_id/partition/offset`, with its bytes. Rejected(not_found)."""
    return Question(
        address(f"/deadletters/{quote(position)}", {"tenant": tenant}), partial(read, into=DeadLetterSummary)
    )


def audit() -> Question[Audit]:
    """The ledger, recounted: docs/api.md. Takes about a second for each ten million events."""
    return Question("/admin/audit", partial(read, into=Audit, what="a recount of the ledger"))


def stats() -> Question[dict[str, Any]]:
    """The counts of GET /stats, as docs/api.md has them."""
    return Question("/stats", _read_stats)


def tail(tenant: str | None, q: str | None) -> str:
    """Where live events are: an answer without an end."""
    return address("/query/tail", {"tenant": tenant, "q": q})


def address(path: str, asked: Mapping[str, str | Sequence[str] | None]) -> str:
    """A path with those parameters that are given."""
    given = urlencode({name: value for name, value in asked.items() if value is not None}, doseq=True)
    return f"{path}?{given}" if given else path


def _scope(tenant: str | None, q: str | None, start: str | None, end: str | None) -> dict[str, Any]:
    return {"tenant": tenant, "q": q, "from": start, "to": end}


def _read_stats(body: bytes) -> dict[str, Any]:
    found = read(body, dict[str, Any], "the counts of a Parsec")
    if not isinstance(found.get("producer"), dict):
        raise Rejected("not_parsec", "the answer is not the counts of a Parsec: it lacks `producer`")
    return found
