"""The client library: send events to a Parsec, query it, and log to it. Imports parsec.api and parsec.core only.

In: bytes of events in any shape that `POST /ingest` takes; queries as keywords. Out: decoded answers. Errors: Rejected
(the request is wrong), Retryable (not now; the same call may succeed later). Next: parsec.client.client.
"""

from typing import TYPE_CHECKING, Any

from parsec.api.audit import Audit
from parsec.api.ingest import IngestAnswer, IngestError
from parsec.api.query import (
    AggregateAnswer,
    DeadLetterDetail,
    DeadLetterPage,
    DeadLetterSummary,
    EventAnswer,
    EventContext,
    EventPage,
    FieldList,
    Histogram,
    ValueList,
)
from parsec.api.repair import RepairStatus, StoreGap
from parsec.client.client import Client
from parsec.client.retries import RetryPolicy
from parsec.client.tail import Gap

if TYPE_CHECKING:
    from parsec.client.async_client import AsyncClient
    from parsec.client.logging_handler import ParsecHandler

__all__ = (
    "AggregateAnswer", "AsyncClient", "Audit", "Client", "DeadLetterDetail", "DeadLetterPage", "DeadLetterSummary",
    "EventAnswer", "EventContext", "EventPage", "FieldList", "Gap", "Histogram", "IngestAnswer", "IngestError",
    "ParsecHandler", "RepairStatus", "RetryPolicy", "StoreGap", "ValueList",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    """Loads on first use what few programs need and takes long to import."""
    if name == "AsyncClient":
        from parsec.client.async_client import AsyncClient

        return AsyncClient
    if name == "ParsecHandler":
        from parsec.client.logging_handler import ParsecHandler

        return ParsecHandler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
