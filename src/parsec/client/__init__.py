"""What other programs import to send events to a Parsec and to query it. Stands on parsec.api and parsec.core alone.

In: bytes of events in any shape that `POST /ingest` takes. Out: its answer, verdict by verdict.
Errors: Rejected (the request was refused for what it is), Retryable (gave up waiting; the same call may succeed later).
"""

from typing import TYPE_CHECKING, Any

from parsec.api.responses import Answer, Verdict
from parsec.client.client import Client
from parsec.client.responses import (
    Audit,
    DeadLetterSummary,
    Fields,
    Groups,
    Histogram,
    LetterPage,
    Page,
    Single,
    Surroundings,
    Values,
)
from parsec.client.retries import RetryPolicy
from parsec.client.tail import Gap

if TYPE_CHECKING:
    from parsec.client.async_client import AsyncClient
    from parsec.client.logging_handler import ParsecHandler

__all__ = (
    "Answer",
    "AsyncClient",
    "Audit",
    "Client",
    "DeadLetterSummary",
    "Fields",
    "Gap",
    "Groups",
    "Histogram",
    "LetterPage",
    "Page",
    "ParsecHandler",
    "RetryPolicy",
    "Single",
    "Surroundings",
    "Values",
    "Verdict",
)


def __getattr__(name: str) -> Any:
    """What few programs need, and takes long to load, is loaded when it is asked for."""
    if name == "AsyncClient":
        from parsec.client.async_client import AsyncClient

        return AsyncClient
    if name == "ParsecHandler":
        from parsec.client.logging_handler import ParsecHandler

        return ParsecHandler
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
