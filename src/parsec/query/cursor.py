"""Where a page ended, as a text that only Parsec reads.

In: the last row of a page and its question, or a cursor that a client sent. Out: the cursor, or what it holds. Errors:
Rejected(invalid_cursor) for a text that is no cursor, or one of another tenant or question. Its offset counts
the events of all tenants, so parsec.web seals it where there are keys; the tenant to ask about is never read from it.
"""

import base64
import zlib

import msgspec

from parsec.core.errors import Rejected
from parsec.query.timerange import TimeRange

_LONGEST = 1024
_INT64, _UINT32, _UINT64 = 1 << 63, 1 << 32, 1 << 64


class Position(msgspec.Struct, frozen=True):
    """The place of a row in the order of events, which no two rows share."""

    at_ns: int
    log_id: str
    partition: int
    offset: int


class _Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    tenant: str
    start_ns: int
    end_ns: int
    at_ns: int
    log_id: str
    partition: int
    offset: int
    question: int


_DECODER = msgspec.json.Decoder(_Cursor)
_ENCODER = msgspec.json.Encoder()


def encoded(tenant: str, between: TimeRange, last: Position, question: str) -> str:
    """`question` is all that must stay the same from page to page, as a text."""
    cursor = _Cursor(
        tenant,
        between.start_ns,
        between.end_ns,
        last.at_ns,
        last.log_id,
        last.partition,
        last.offset,
        _digest(question),
    )
    return base64.urlsafe_b64encode(_ENCODER.encode(cursor)).rstrip(b"=").decode()


def decoded(text: str, tenant: str, question: str) -> tuple[TimeRange, Position]:
    """The range that the first page resolved, and the last row before the next page."""
    try:
        if len(text) > _LONGEST:
            raise ValueError("too long")
        cursor = _DECODER.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        fits = (
            cursor.tenant == tenant
            and cursor.question == _digest(question)
            and 0 <= cursor.start_ns <= cursor.end_ns < _INT64
            and 0 <= cursor.at_ns < _INT64
            and 0 <= cursor.partition < _UINT32
            and 0 <= cursor.offset < _UINT64
        )
        if not fits:
            raise ValueError("of another question")
    except ValueError as error:
        message = "This is no cursor of an answer to this question of this tenant; ask again without one."
        raise Rejected("invalid_cursor", message, field="cursor") from error
    position = Position(cursor.at_ns, cursor.log_id, cursor.partition, cursor.offset)
    return TimeRange(cursor.start_ns, cursor.end_ns), position


def _digest(question: str) -> int:
    return zlib.crc32(question.encode(errors="surrogatepass"))
