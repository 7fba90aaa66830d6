"""The answer of POST /ingest. Next: parsec.api.problem."""

from collections.abc import Sequence

import msgspec


class IngestError(msgspec.Struct, frozen=True):
    """Why an event was rejected, or the whole request, which then has `index` null. docs/errors.md lists the codes."""

    index: int | None
    id: str | None
    code: str
    field: str | None
    message: str
    retryable: bool = False


class IngestAnswer(msgspec.Struct, frozen=True):
    """`success`: no event was rejected. `ack`: how safe the accepted ones are, `durable`, `enqueued` or `spooled`.

    `errors` has at most 100 entries; `errors_truncated` says that there were more.
    """

    success: bool
    ack: str
    accepted: int
    rejected: int
    errors: Sequence[IngestError]
    errors_truncated: bool | msgspec.UnsetType = msgspec.UNSET


_DECODER = msgspec.json.Decoder(IngestAnswer)


def decode_ingest_answer(body: bytes) -> IngestAnswer | None:
    """None when the body is no answer of POST /ingest but a problem, or a proxy's page."""
    try:
        return _DECODER.decode(body)
    except msgspec.DecodeError:
        return None
