"""The dead letters of a tenant: records that could not become rows, and why.

In: a DeadLetterPageRequest, or a position. Out: dead letters, the newest first, without or with their bytes; their
number. Errors: Rejected(invalid_cursor, query_too_expensive), Retryable. Next: parsec.ports.store.

A replay may keep a dead letter again under a later time; the table holds one per position, and so do the answers.
"""

import base64
from typing import Any

import msgspec

from parsec.api.parameters import NO_TENANT
from parsec.api.query import DeadLetterDetail, DeadLetterPage, DeadLetterSummary
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query import cursor
from parsec.query.sql.columns import Parameters
from parsec.query.sql.page import row_key, rows_after
from parsec.query.timerange import TimeRange

_COLUMNS = "time, log_id, partition, offset, tenant_id, reason, stage, detail, length(raw)"


class DeadLetterPageRequest(msgspec.Struct, frozen=True):
    """`time_range`: of the failures. `reason`: empty for any."""

    tenant: str
    time_range: TimeRange
    limit: int
    reason: str = ""
    cursor: str | None = None


def dead_letter_page(store: StoreReader, request: DeadLetterPageRequest, limits: QueryLimits) -> DeadLetterPage:
    """One row too many tells that there is another page."""
    same = f"dead\0{request.reason}"
    time_range, last = request.time_range, None
    if request.cursor:
        time_range, last = cursor.decode(request.cursor, request.tenant, same)
    bound = Parameters()
    conditions = [
        f"tenant_id = {bound.bind(_tenant_column(request.tenant))}",
        f"time >= {bound.timestamp(time_range.start_ns)} AND time < {bound.timestamp(time_range.end_ns)}",
    ]
    if request.reason:
        conditions.append(f"reason = {bound.bind(request.reason)}")
    if last is not None:
        conditions.append(rows_after(last, "newest", bound, "time"))
    rows = store.select(
        f"SELECT {_COLUMNS} FROM dead_letters FINAL WHERE {' AND '.join(conditions)}"  # noqa: S608 (values are bound)
        " ORDER BY time DESC, log_id DESC, partition DESC, offset DESC"
        f" LIMIT {bound.bind(request.limit + 1, 'UInt32')}",
        bound.values,
        limits,
        list[Any],
    )
    shown = rows[: request.limit]
    more = len(rows) > request.limit
    return DeadLetterPage(
        [DeadLetterSummary(**_summary(row)) for row in shown],
        cursor.encode(request.tenant, time_range, row_key(shown[-1]), same) if more else None,
    )


def find_dead_letter(
    store: StoreReader, tenant: str, log_id: str, partition: int, offset: int, limits: QueryLimits
) -> DeadLetterDetail | None:
    """The dead letter at a position, if it belongs to this tenant."""
    bound = Parameters()
    rows = store.select(
        f"SELECT {_COLUMNS}, hex(raw) FROM dead_letters FINAL"  # noqa: S608 (values are bound)
        f" WHERE log_id = {bound.bind(log_id)} AND partition = {bound.bind(partition, 'UInt32')}"
        f" AND offset = {bound.bind(offset, 'UInt64')} AND tenant_id = {bound.bind(_tenant_column(tenant))}",
        bound.values,
        limits,
        list[Any],
    )
    if not rows:
        return None
    summary, raw = _summary(rows[0]), bytes.fromhex(rows[0][-1])
    try:
        return DeadLetterDetail(**summary, raw=raw.decode())
    except UnicodeDecodeError:
        return DeadLetterDetail(**summary, raw_base64=base64.b64encode(raw).decode())


def count_dead_letters(store: StoreReader, tenant: str, since_ns: int, limits: QueryLimits) -> tuple[int, int]:
    """All rows of the tenant, repeats included, and its dead letters since a time."""
    bound = Parameters()
    sql = (
        f"SELECT count(), uniqExactIf((log_id, partition, offset), time >= {bound.timestamp(since_ns)})"  # noqa: S608
        f" FROM dead_letters WHERE tenant_id = {bound.bind(tenant)}"
    )
    (counts,) = store.select(sql, bound.values, limits, tuple[int, int])
    return counts


def _tenant_column(tenant: str) -> str:
    return "" if tenant == NO_TENANT else tenant


def _summary(row: list[Any]) -> dict[str, Any]:
    """The fields of a DeadLetterSummary, made of a row of _COLUMNS."""
    time, log_id, partition, offset, *rest = row
    return dict(zip(DeadLetterSummary.__struct_fields__, (f"{log_id}/{partition}/{offset}", time, *rest), strict=False))
