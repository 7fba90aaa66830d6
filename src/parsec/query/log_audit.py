"""Which records of a log have nothing to show for themselves in the store.

In: records by offset. Out: those that are neither a row, nor a dead letter, nor a repeat of an event that is a row.
Errors: as parsec.query.audit. Next: parsec.ports.store.

A repeat is known by its id alone, as ever; that of an event that has left the store by age since looks as if missing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from parsec.ports.broker import Progress
from parsec.ports.store import Limits, StoreReader
from parsec.query.audit import PLACE, Audit, Missing, audit

_AT_ONCE = 20_000
MOST_MISSING = 1000
"""Records that are named; a store that was deleted has millions of them."""
_LANDED = f"SELECT offset FROM events WHERE {PLACE} UNION ALL SELECT offset FROM dead_letters WHERE {PLACE}"  # noqa: S608
_KNOWN = (
    "SELECT DISTINCT tenant_id, id FROM events WHERE tenant_id IN {tenants:Array(String)} AND id IN {ids:Array(String)}"
)


class _Who(msgspec.Struct):
    tenant_id: str
    id: str


_DECODER = msgspec.json.Decoder(_Who)


def audit_with_log(
    store: StoreReader,
    progress: Progress,
    records: Callable[[int, int], Iterable[tuple[int, Sequence[bytes]]]],
    day: int,
    limits: Limits,
) -> Audit:
    """As parsec.query.audit, of one partition, and with what is missing. `records`: of the log, between two offsets."""
    found = audit(store, [progress], day, limits)
    (one,) = found.partitions
    runs = records(one.recounted_from, one.committed)
    away = list(islice(missing(store, one.log_id, one.partition, runs, limits), MOST_MISSING))
    return msgspec.structs.replace(found, partitions=[msgspec.structs.replace(one, missing=away)])


def missing(
    store: StoreReader, log_id: str, partition: int, records: Iterable[tuple[int, Sequence[bytes]]], limits: Limits
) -> Iterator[Missing]:
    """`records`: runs of consecutive ones, each with the offset of its first, in order."""
    waiting: list[tuple[int, Sequence[bytes]]] = []
    count = 0
    for first, values in records:
        waiting.append((first, values))
        count += len(values)
        if count >= _AT_ONCE:
            yield from _missing(store, log_id, partition, waiting, limits)
            waiting, count = [], 0
    if waiting:
        yield from _missing(store, log_id, partition, waiting, limits)


def _missing(
    store: StoreReader, log_id: str, partition: int, runs: Sequence[tuple[int, Sequence[bytes]]], limits: Limits
) -> Iterator[Missing]:
    place = {"log_id": log_id, "partition": partition, "first": runs[0][0], "end": runs[-1][0] + len(runs[-1][1])}
    bounds = msgspec.structs.replace(limits, max_result_rows=0, max_result_bytes=0)
    landed = {offset for (offset,) in store.select(_LANDED, place, bounds, tuple[int])}
    away = [
        _told(first + n, value) for first, values in runs for n, value in enumerate(values) if first + n not in landed
    ]
    for at in range(0, len(away), 1000):
        some = away[at : at + 1000]
        who = {"tenants": sorted({one.tenant_id for one in some}), "ids": sorted({one.id for one in some})}
        known = set(store.select(_KNOWN, who, bounds, tuple[str, str]))
        yield from (one for one in some if (one.tenant_id, one.id) not in known)


def _told(offset: int, value: bytes) -> Missing:
    try:
        who = _DECODER.decode(value)
    except msgspec.DecodeError:
        return Missing(offset)
    return Missing(offset, who.tenant_id, who.id)
