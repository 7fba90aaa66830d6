"""Events that other processes store, to the readers who wait for such events.

In: how far each partition is committed, once a second. Out: each event as JSON to every tail whose question it matches,
found by one question to the store per second and tenant, whatever number of tails share it. Errors: none; while the
store does not answer its events wait there. Next: parsec.query.sql.compile.

Invariants, cited by tests
 1. Below the committed offset of a partition everything is stored for good, so what lies between two polls is seen
    once, and nothing is left out. Offsets that are behind what was seen are not seen again.
 2. An answer is bounded in rows; what it leaves out is counted at the tails.
 3. A tenant's first reader begins with what was known before it came, so that nothing falls between its coming and the
    next poll: it may see what was stored a moment earlier.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from parsec.core.errors import Rejected, Retryable
from parsec.ports.broker import Progress, Range
from parsec.ports.store import QueryLimits, StoreReader
from parsec.query.sql.columns import Parameters
from parsec.query.sql.compile import condition
from parsec.query.sql.projection import Projection
from parsec.query.tail.subscriptions import Subscriptions, Watch

_log = structlog.get_logger(__name__)

EVERY_S = 1.0
KNOWN_SOON_S = 0.1
"""How soon it is looked again after a start: what is stored before anything is known, a reader would miss."""
MOST_ROWS = 5_000

Places = Mapping[tuple[str, int], int]
"""The committed offset by log and partition."""

_ENCODER = msgspec.json.Encoder()
_SHOWN = Projection()


class TailPoller:
    """`run` in a thread of its own. `progress` is that of all partitions, whoever reads them; none: not known yet."""

    def __init__(
        self, tails: Subscriptions, store: StoreReader, progress: Callable[[], Iterable[Progress]], limits: QueryLimits
    ) -> None:
        self._tails = tails
        self._store = store
        self._progress = progress
        self._limits = limits
        self._known: Places = {}
        self._since: dict[str, Places] = {}

    def run(self, stop: threading.Event) -> None:
        """Polls until `stop`."""
        self.poll()
        while not stop.wait(EVERY_S if self._known else KNOWN_SOON_S):
            self.poll()

    def poll(self) -> None:
        """What was committed since the last time, or since before a tenant got its first reader."""
        now = list(self._progress())  # before it is looked who waits (invariant 3)
        if not now:
            return
        watched = self._tails.watched
        before = self._known or _farther({}, now)
        self._known = _farther(before, now)
        self._since = {tenant: self._since.get(tenant, before) for tenant in watched}
        for tenant, watches in watched.items():
            moved = _moved(self._since[tenant], now)
            try:
                if moved:
                    self._tell(tenant, watches, moved)
            except Retryable as error:
                _log.warning("Live events wait in the store, which does not answer.", why=str(error))
                continue
            except Rejected as error:
                _log.warning("Live events of a second cost too much to find.", tenant=tenant, why=error.message)
                _miss(watches, sum(each.last - each.first + 1 for each in moved))
            self._since[tenant] = self._known

    def _tell(self, tenant: str, watches: Sequence[Watch], moved: Sequence[Range]) -> None:
        parameters = Parameters()
        where = f"tenant_id = {parameters.text(tenant)} AND ({_between(moved, parameters)})"
        found = [condition(watch.node, parameters) for watch in watches]
        matches = ", ".join(f"{each} = 1 AS match{n}" for n, each in enumerate(found))
        sql = (
            f"SELECT log_id, partition, offset, {', '.join(_SHOWN.columns)}, {matches} FROM events"  # noqa: S608
            f" WHERE {where} AND ({' OR '.join(found)})"
            f" ORDER BY log_id, partition, offset LIMIT {parameters.bind(MOST_ROWS + 1, 'UInt32')}"
        )
        rows = self._store.select(sql, parameters.values, self._limits, list[Any])
        shown = 3 + len(_SHOWN.columns)
        messages = [_ENCODER.encode(_SHOWN.shown(row[3:shown])) for row in rows[:MOST_ROWS]]
        for n, watch in enumerate(watches):
            wanted = [message for row, message in zip(rows, messages, strict=False) if row[shown + n]]
            for tail in watch.tails if wanted else ():
                tail.put(wanted)
        if len(rows) > MOST_ROWS:
            _miss(watches, self._beyond(where, parameters, rows[MOST_ROWS][:3]))

    def _beyond(self, where: str, parameters: Parameters, first: Sequence[Any]) -> int:
        """How many events of the tenant stand from this position on."""
        log_id, partition, offset = first
        place = (
            parameters.text(log_id),
            parameters.bind(partition, "UInt32"),
            parameters.bind(offset, "UInt64"),
        )
        sql = f"SELECT count() FROM events WHERE {where} AND (log_id, partition, offset) >= ({', '.join(place)})"  # noqa: S608
        ((count,),) = self._store.select(sql, parameters.values, self._limits, tuple[int])
        return count


def _farther(places: Places, now: Sequence[Progress]) -> Places:
    """A partition that is not heard of this time stays where it was, and none goes back."""
    farther = dict(places)
    for each in now:
        key = (each.log_id, each.partition)
        farther[key] = max(farther.get(key, 0), each.committed)
    return farther


def _moved(since: Places, now: Sequence[Progress]) -> list[Range]:
    """What was committed in between. A partition that was not known before is new: all of it is."""
    firsts = [since.get((each.log_id, each.partition), each.start) for each in now]
    return [
        Range(each.log_id, each.partition, first, each.committed - 1)
        for each, first in zip(now, firsts, strict=True)
        if first < each.committed
    ]


def _between(moved: Sequence[Range], parameters: Parameters) -> str:
    return " OR ".join(
        f"log_id = {parameters.text(each.log_id)} AND partition = {parameters.bind(each.partition, 'UInt32')}"
        f" AND offset >= {parameters.bind(each.first, 'UInt64')} AND offset <= {parameters.bind(each.last, 'UInt64')}"
        for each in moved
    )


def _miss(watches: Sequence[Watch], events: int) -> None:
    for watch in watches:
        for tail in watch.tails:
            tail.miss(events)
