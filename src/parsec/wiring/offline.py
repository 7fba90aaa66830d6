"""Open the files of a stopped Parsec, for `parsec log` and `parsec audit`.

In: settings. Out: the log and its spools to read, or a recount of the ledger. Errors: Fatal while a process uses the
directory. Next: parsec.adapters.log.offline.
"""

from contextlib import ExitStack
from pathlib import Path

from parsec.adapters.log.offline import OfflineLog, open_exclusively, open_offline
from parsec.api.audit import Audit
from parsec.core.clock import SystemClock
from parsec.core.errors import Fatal
from parsec.ports.store import QueryLimits
from parsec.query.audit import audit_with_log, today
from parsec.settings import Settings

QUERY_TIMEOUT_S = 600.0
"""Of one query of the audit; a person waits for it and may end it."""


def offline_logs(settings: Settings) -> list[OfflineLog]:
    """The log of a stopped Parsec and its spools, to read. Raises Fatal, for one while it is in use."""
    return open_offline(Path(settings.data_dir))


def offline_audit(settings: Settings) -> Audit:
    """Recount the ledger of a stopped Parsec record by record; its directory is locked meanwhile.

    Raises Fatal, Retryable, Rejected, OSError.
    """
    if settings.kafka_brokers or settings.storage_backend != "embedded":
        raise Fatal(
            "An offline audit needs the embedded log and the embedded store; with Kafka or ClickHouse run "
            "`parsec audit` against a running Parsec."
        )
    from parsec.adapters.store.chdb.engine import ChdbEngine
    from parsec.adapters.store.clickhouse import ClickHouseStore

    directory = Path(settings.data_dir)
    with ExitStack() as opened:
        log, progress = open_exclusively(directory)
        opened.callback(log.close)
        store = ClickHouseStore(ChdbEngine(directory / "store"), settings.retention)
        opened.callback(store.close)
        limits = QueryLimits(settings.query_memory, QUERY_TIMEOUT_S)
        return audit_with_log(store.reader(), progress, log.records, today(SystemClock()), limits)
