"""Cursors: where a page ended, as a text that only Parsec reads.

In: the last row of a page and its query, or a cursor that a client sent. Out: the cursor, or its content. Errors:
Rejected(invalid_cursor) for another text, and for the cursor of another tenant or query. The offset in it counts
the events of all tenants, so parsec.web encrypts it where there are API keys; the tenant is never taken from it.
Next: parsec.query.sql.page.
"""

import base64
import zlib

import msgspec
from msgspec.structs import astuple

from parsec.core.errors import Rejected
from parsec.query.timerange import TimeRange

_LONGEST = 1024
_INT64, _UINT32, _UINT64 = 1 << 63, 1 << 32, 1 << 64


class RowKey(msgspec.Struct, frozen=True):
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
    query: int


_DECODER = msgspec.json.Decoder(_Cursor)
_ENCODER = msgspec.json.Encoder()


def encode(tenant: str, time_range: TimeRange, last: RowKey, query: str) -> str:
    """`query`: all that must stay the same from page to page, as a text."""
    values = (tenant, *astuple(time_range), *astuple(last), _digest(query))
    return base64.urlsafe_b64encode(_ENCODER.encode(_Cursor(*values))).rstrip(b"=").decode()


def decode(text: str, tenant: str, query: str) -> tuple[TimeRange, RowKey]:
    """The range that the first page resolved, and the last row before the next page."""
    try:
        if len(text) > _LONGEST:
            raise ValueError("too long")
        cursor = _DECODER.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        fits = (
            cursor.tenant == tenant
            and cursor.query == _digest(query)
            and 0 <= cursor.start_ns <= cursor.end_ns < _INT64
            and 0 <= cursor.at_ns < _INT64
            and 0 <= cursor.partition < _UINT32
            and 0 <= cursor.offset < _UINT64
        )
        if not fits:
            raise ValueError("of another query")
    except ValueError as error:
        message = "This cursor belongs to another query or tenant, or is damaged; start again without a cursor."
        raise Rejected("invalid_cursor", message, field="cursor") from error
    _, start_ns, end_ns, *last, _ = astuple(cursor)
    return TimeRange(start_ns, end_ns), RowKey(*last)


def _digest(query: str) -> int:
    return zlib.crc32(query.encode(errors="surrogatepass"))
