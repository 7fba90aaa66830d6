"""Open the routes that query stored events.

In: settings, the store, the log's ends. Out: a `QuerySide`: routes and the parts behind them.
Next: parsec.wiring.ingest.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from parsec.ports.broker import Progress
from parsec.ports.store import QueryLimits
from parsec.process.watermark import Ends, Watermark
from parsec.query.completeness import CompletenessCheck, missing_of_spools
from parsec.query.tail.poller import TailPoller
from parsec.service import Part, Resource
from parsec.settings import Settings
from parsec.web.app import Routes
from parsec.web.query_executor import QueryExecutor
from parsec.web.routes.admin import AdminRoutes
from parsec.web.routes.query import QueryRoutes
from parsec.web.routes.stats import connect_age_gauge
from parsec.web.routes.tail import TailRoutes
from parsec.wiring.log import LogHandle
from parsec.wiring.processor import ProcessorSide
from parsec.wiring.runtime import Runtime

QUERY_THREADS = 4
ROWS_PER_S, BYTES_PER_S = 67_000_000, 9 << 30
"""Read by one query, for each second of its deadline: more than two cores scan, so only a store that is much larger
than its machine meets it. It ends a query by its plan, before the deadline."""


class QuerySide(msgspec.Struct, frozen=True):
    """Empty where this process answers no queries."""

    routes: Routes = ()
    parts: Sequence[Part] = ()


def open_query(settings: Settings, runtime: Runtime, log: LogHandle, processor_side: ProcessorSide) -> QuerySide:
    """Routes over the store, where there is one and the role asks for it."""
    store, processor, tails = processor_side.store, processor_side.processor, processor_side.tails
    if store is None or "query" not in settings.roles:
        return QuerySide()
    telemetry, clock = runtime.telemetry, runtime.clock
    positions = processor.positions if processor is not None else dict[int, int]
    shared = processor_side.shared_progress
    progress = shared or (processor.progress if processor is not None else dict[int, Progress])
    watermark = Watermark(lambda: _ends(log), log.committed or positions, lambda: _lost(progress()))
    watermark.sample()
    connect_age_gauge(telemetry, watermark.until_ns, clock.time_ns)
    limits = QueryLimits(
        settings.query_memory,
        settings.query_timeout,
        max_rows_read=int(settings.query_timeout * ROWS_PER_S),
        max_bytes_read=int(settings.query_timeout * BYTES_PER_S),
    )
    executor = QueryExecutor(ThreadPoolExecutor(QUERY_THREADS, "parsec-query"), limits, telemetry)
    reader = store.reader()
    completeness = CompletenessCheck(
        reader, watermark.until_ns, watermark.lost_until_ns, log.waiting, clock, store.damage_changes,
        _absent(processor_side, log),
    )  # fmt: skip
    poller = TailPoller(tails, reader, processor_side.committed, limits, clock)
    parts: list[Part] = [
        Resource("queries", executor.close),
        runtime.ticker("watermark", 1.0, watermark.sample),
        runtime.thread("tail-poller", poller.run),
    ]
    admin = AdminRoutes(
        reader, lambda: progress().values(), executor, telemetry, clock, processor_side.comparison, log.lost_in_spools
    )
    queries = QueryRoutes(reader, completeness, executor, clock)
    return QuerySide((*queries.routes(), *TailRoutes(tails, telemetry).routes(), *admin.routes()), parts)


def _absent(processor_side: ProcessorSide, log: LogHandle) -> Callable[[str], list[str]]:
    comparison = processor_side.comparison

    def absent(since: str) -> list[str]:
        of_store = comparison.missing(since) if comparison is not None else []
        return [*of_store, *missing_of_spools(log.lost_in_spools(), since)]

    return absent


def _ends(log: LogHandle) -> Ends | None:
    """None while accepted events wait in the spool: the ends of the log do not count them."""
    found = None if log.waiting() else log.ends()
    return None if found is None else Ends(*found)


def _lost(progress: Mapping[int, Progress]) -> int:
    return sum(each.counts.lost for each in progress.values())
