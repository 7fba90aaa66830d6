"""The side of a process that answers questions about what is stored.

In: the store, and how far events have come. Out: routes and what runs behind them. Next: parsec.wiring.ingest.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from parsec.ports.broker import Progress
from parsec.ports.store import QueryLimits
from parsec.process.watermark import Ends, Watermark
from parsec.query.tail.poller import TailPoller
from parsec.service import Resource
from parsec.settings import Settings
from parsec.web.completeness import CompletenessCheck
from parsec.web.query_executor import QueryExecutor
from parsec.web.routes.admin import AdminRoutes
from parsec.web.routes.dead_letters import DeadLetterRoutes
from parsec.web.routes.query import QueryRoutes
from parsec.web.routes.stats import read_age
from parsec.web.routes.tail import TailRoutes
from parsec.wiring.assembly import Assembly
from parsec.wiring.log import LogHandle, Loop
from parsec.wiring.processor import Storing

QUERY_THREADS = 4


def add_questions(of: Assembly, log: LogHandle, storing: Storing) -> None:
    """Only where there is a store."""
    assert storing.store is not None
    settings, telemetry, clock, processor = of.settings, of.telemetry, of.clock, storing.processor
    positions = processor.positions if processor is not None else dict[int, int]
    progress = storing.shared or (processor.progress if processor is not None else dict[int, Progress])
    completeness = Watermark(lambda: _ends(log), log.committed or positions, lambda: _lost(progress()))
    completeness.sample()
    read_age(telemetry, completeness.until_ns, clock.time_ns)
    limits = _limits(settings)
    askers = ThreadPoolExecutor(QUERY_THREADS, "parsec-query")
    reader, asker = storing.store.reader(), QueryExecutor(askers, limits, telemetry)
    missing = CompletenessCheck(reader, completeness, log.waiting, clock)
    of.routes += QueryRoutes(reader, missing, asker, clock).routes()
    of.routes += DeadLetterRoutes(reader, asker, clock).routes()
    of.routes += TailRoutes(storing.tails, telemetry).routes()
    of.routes += AdminRoutes(reader, lambda: progress().values(), asker, telemetry, clock).routes()
    of.parts.append(Resource("queries", asker.close))
    if storing.shared is not None:  # whoever stores an event may be another process than who tails it
        polled = TailPoller(storing.tails, reader, lambda: progress().values(), limits)
        of.parts.append(of.thread(Loop("live", polled.run)))
    of.parts.append(of.ticker("completeness", 1.0, completeness.sample))


def _limits(settings: Settings) -> QueryLimits:
    return QueryLimits(
        settings.query_memory,
        settings.query_timeout,
        max_rows_read=settings.query_rows,
        max_bytes_read=settings.query_bytes,
    )


def _ends(log: LogHandle) -> Ends | None:
    """Not known while accepted events are not even in the log."""
    found = None if log.waiting() else log.ends()
    return None if found is None else Ends(*found)


def _lost(progress: Mapping[int, Progress]) -> int:
    return sum(each.counts.lost for each in progress.values())
