"""How long a recount of the ledger takes: ten million stored events, all in one stretch between two marks.

python bench/audit.py [--runs 5] [--json FILE]
"""

import tempfile
import time
from pathlib import Path

from _running import arguments, medians, publish
from parsec.adapters.store.chdb.engine import ChdbEngine
from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.ports.broker import Counts, Progress
from parsec.ports.store import LedgerCheckpoint, QueryLimits
from parsec.query.audit import audit

EVENTS, AT_ONCE = 10_000_000, 1_000_000
TODAY, NEVER = 20_000, 60_000
LIMITS = QueryLimits(1 << 30, 60.0)
_EVENTS = """
INSERT INTO events
    (tenant_id, timestamp, severity, source, message, metadata, id, received_at, region, node, log_id, partition,
     offset, expires_on)
SELECT concat('t', toString(number % 10)), now64(9) - toIntervalMillisecond(number % 100000), 'info', 'api',
    'GET /users 200 in 12 ms', '{{}}', concat('e', toString(number)), now64(9), 'r', 'n', 'log', 0, number, today() + 30
FROM numbers({first}, {count})
"""


def main() -> None:
    given = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory(prefix="parsec-bench-") as directory:
        engine = ChdbEngine(Path(directory) / "store")
        store = ClickHouseStore(engine, 30 * 86_400.0)
        client = engine.connect({})
        for first in range(0, EVENTS, AT_ONCE):
            client.command(_EVENTS.format(first=first, count=AT_ONCE))
        store.save_checkpoint(LedgerCheckpoint("log", 0, 0, 0, 0, 0, 0, 0, NEVER))
        reader, progress = store.reader(), Progress("log", 0, 0, EVENTS, Counts(stored=EVENTS))
        runs = []
        for _ in range(given.runs):
            began = time.perf_counter()
            found = audit(reader, [progress], TODAY, LIMITS)
            runs.append({"seconds": time.perf_counter() - began, "difference": found.difference})
        client.close()
        store.close()
    publish({f"recount of {EVENTS:,} events": medians(runs)}, given.json)


if __name__ == "__main__":
    main()
