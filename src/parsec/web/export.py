"""Events as JSON lines or CSV, page after page, so that an answer of any length takes the memory of one page.

In: a query, its first page, and a function that fetches another. Out: chunks of the body. Errors: a page that fails
is fetched again for a while; then the connection breaks off, so that a partial answer never looks complete.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import cast

import msgspec

from parsec.api.parameters import Format
from parsec.core.errors import Retryable
from parsec.query.sql.page import Page, PageRequest

MEDIA_TYPES: dict[Format, str] = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}
PAGE_EVENTS = 1_000
ATTEMPTS = 10
CSV_COLUMNS = ("timestamp", "severity", "source", "message", "id", "metadata")

_ENCODER = msgspec.json.Encoder()

FetchPage = Callable[[PageRequest], Awaitable[Page]]


def accepted_format(header: str) -> Format:
    """The format with the greatest q in an Accept header, the first of several; JSON without one."""
    best, best_quality = "json", 0.0
    for part in header.split(","):
        wanted, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((_quality(each[2:]) for each in parameters if each.startswith("q=")), 1.0)
        form = next((name for name, media_type in MEDIA_TYPES.items() if wanted == media_type), None)
        if form is None and wanted in ("*/*", "application/*"):
            form = "json"
        if form is not None and quality > best_quality:
            best, best_quality = form, quality
    return cast("Format", best)


async def all_pages(form: Format, first: Page, request: PageRequest, fetch: FetchPage) -> AsyncIterator[bytes]:
    """The page `first` of `request` and all that follow, each fetched when the client has taken the one before."""
    yield one_page(form, first, request)
    page = first
    while page.cursor is not None:
        page = await _retried(fetch, msgspec.structs.replace(request, cursor=page.cursor))
        yield _rows(page, request) if form == "csv" else _lines(page)


def one_page(form: Format, page: Page, request: PageRequest) -> bytes:
    """A page as a body of its own, in CSV with a line of names."""
    return _csv([_names(request)]) + _rows(page, request) if form == "csv" else _lines(page)


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def _names(request: PageRequest) -> Sequence[str]:
    return request.fields or CSV_COLUMNS


def _rows(page: Page, request: PageRequest) -> bytes:
    return _csv([[_cell(each.get(name)) for name in _names(request)] for each in page.events])


async def _retried(fetch: FetchPage, request: PageRequest) -> Page:
    for _ in range(ATTEMPTS - 1):
        try:
            return await fetch(request)
        except Retryable as error:
            await asyncio.sleep(error.after_s)
    return await fetch(request)


def _lines(page: Page) -> bytes:
    return b"".join(_ENCODER.encode(each) + b"\n" for each in page.events)


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    """Text as it is, null as an empty cell, anything else as JSON."""
    if isinstance(value, msgspec.Raw) and bytes(value).startswith((b'"', b"n")):
        value = msgspec.json.decode(value)
    if value is None:
        return ""
    return value if isinstance(value, str) else _ENCODER.encode(value).decode()
