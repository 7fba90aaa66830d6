"""The events of a tenant, a page at a time.

In: a Question. Out: a Page. Errors: Rejected(invalid_query,
invalid_cursor, invalid_parameter, query_too_expensive), Retryable. Next: parsec.query.sql.keyset_page.

No two rows share a place in the order (parsec.query.sql.keyset_page), so a page begins exactly where the one before
ended, whatever has been stored since. A cursor also holds the time range that its first question resolved.
"""

import msgspec

from parsec.ports.store import QueryLimits, StoreReader
from parsec.query import cursor
from parsec.query.language.parse import parse
from parsec.query.sql.filter import Scope
from parsec.query.sql.keyset_page import POSITION, Order, first, position
from parsec.query.sql.projection import Projection
from parsec.query.timerange import TimeRange


class Question(msgspec.Struct, frozen=True):
    """Whose events, from when to when, and at most how many; `cursor` is that of an earlier answer.

    `q` is an expression of docs/query-language.md; `fields` names what to show, nothing: all of an event.
    """

    tenant: str
    between: TimeRange
    limit: int
    cursor: str | None = None
    q: str = ""
    order: Order = "newest"
    fields: tuple[str, ...] = ()


class Page(msgspec.Struct, frozen=True):
    """Events as objects with the chosen fields in their order, and where the next page begins."""

    events: list[dict[str, object]]
    cursor: str | None


def page(store: StoreReader, question: Question, limits: QueryLimits) -> Page:
    """A page of events."""
    shown = Projection(question.fields)
    same = f"{question.order}\0{question.q}"
    between, last = question.between, None
    if question.cursor:
        between, last = cursor.decoded(question.cursor, question.tenant, same)
    scope = Scope(question.tenant, between, parse(question.q))
    found = first(store, scope, question.order, last, shown, question.limit, limits)
    return Page(
        [shown.shown(row[len(POSITION) :]) for row in found.rows],
        cursor.encoded(question.tenant, between, position(found.rows[-1]), same) if found.more else None,
    )
