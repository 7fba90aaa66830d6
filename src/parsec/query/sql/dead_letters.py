"""Dead letters of a tenant: what could not become a row, and why.

In: a DeadQuestion, or a position. Out: letters, the newest first, without or with their bytes. Errors:
Rejected(invalid_cursor, query_too_expensive), Retryable. Next: parsec.ports.store.

A replay may keep a letter again under a later time; the table holds one per position, and so do the answers.
"""

import base64
from typing import Any

import msgspec

from parsec.api.parameters import NO_TENANT
from parsec.api.query import DeadLetterDetail, DeadLetterPage, DeadLetterSummary
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query import cursor
from parsec.query.sql.columns import Parameters
from parsec.query.sql.keyset_page import beyond, position
from parsec.query.timerange import TimeRange

_COLUMNS = "time, log_id, partition, offset, tenant_id, reason, stage, detail, length(raw)"


class DeadQuestion(msgspec.Struct, frozen=True):
    """Whose letters, given up from when to when, for which reason (empty: any), and at most how many."""

    tenant: str
    between: TimeRange
    limit: int
    reason: str = ""
    cursor: str | None = None


def letters(store: StoreReader, question: DeadQuestion, limits: QueryLimits) -> DeadLetterPage:
    """A page of letters. One row more than asked for tells whether there is another page."""
    same = f"dead\0{question.reason}"
    between, last = question.between, None
    if question.cursor:
        between, last = cursor.decoded(question.cursor, question.tenant, same)
    bound = Parameters()
    conditions = [
        f"tenant_id = {bound.text(_stored(question.tenant))}",
        f"time >= {bound.moment(between.start_ns)} AND time < {bound.moment(between.end_ns)}",
    ]
    if question.reason:
        conditions.append(f"reason = {bound.text(question.reason)}")
    if last is not None:
        conditions.append(beyond(last, "newest", bound, "time"))
    rows = store.select(
        f"SELECT {_COLUMNS} FROM dead_letters FINAL WHERE {' AND '.join(conditions)}"  # noqa: S608 (values are bound)
        " ORDER BY time DESC, log_id DESC, partition DESC, offset DESC"
        f" LIMIT {bound.bind(question.limit + 1, 'UInt32')}",
        bound.values,
        limits,
        list[Any],
    )
    shown = rows[: question.limit]
    more = len(rows) > question.limit
    return DeadLetterPage(
        [DeadLetterSummary(**_told(row)) for row in shown],
        cursor.encoded(question.tenant, between, position(shown[-1]), same) if more else None,
    )


def letter(
    store: StoreReader, tenant: str, log_id: str, partition: int, offset: int, limits: QueryLimits
) -> DeadLetterDetail | None:
    """The letter at a position, if it is this tenant's."""
    bound = Parameters()
    rows = store.select(
        f"SELECT {_COLUMNS}, hex(raw) FROM dead_letters FINAL"  # noqa: S608 (values are bound)
        f" WHERE log_id = {bound.text(log_id)} AND partition = {bound.bind(partition, 'UInt32')}"
        f" AND offset = {bound.bind(offset, 'UInt64')} AND tenant_id = {bound.text(_stored(tenant))}",
        bound.values,
        limits,
        list[Any],
    )
    if not rows:
        return None
    told, raw = _told(rows[0]), bytes.fromhex(rows[0][-1])
    try:
        return DeadLetterDetail(**told, raw=raw.decode())
    except UnicodeDecodeError:
        return DeadLetterDetail(**told, raw_base64=base64.b64encode(raw).decode())


def _stored(tenant: str) -> str:
    return "" if tenant == NO_TENANT else tenant


def _told(row: list[Any]) -> dict[str, Any]:
    """A row of _COLUMNS as the fields of a Letter."""
    time, log_id, partition, offset, *rest = row
    return dict(zip(DeadLetterSummary.__struct_fields__, (f"{log_id}/{partition}/{offset}", time, *rest), strict=False))
