"""What other programs import to send events to a Parsec and to query it. Stands on parsec.core alone.

In: bytes of events in any shape that `POST /ingest` takes. Out: its answer, verdict by verdict.
Errors: Rejected (the request was refused for what it is), Retryable (gave up waiting; the same call may succeed later).
"""

from parsec.client.answers import Answer, Page, Single, Surroundings, Verdict
from parsec.client.audit import Audit
from parsec.client.client import Client
from parsec.client.dead_letters import Letter, LetterPage
from parsec.client.figures import Fields, Groups, Histogram, Values
from parsec.client.retries import Patience
from parsec.client.tailing import Gap

__all__ = (
    "Answer",
    "Audit",
    "Client",
    "Fields",
    "Gap",
    "Groups",
    "Histogram",
    "Letter",
    "LetterPage",
    "Page",
    "Patience",
    "Single",
    "Surroundings",
    "Values",
    "Verdict",
)
