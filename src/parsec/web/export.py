"""Events as JSON lines or CSV, page after page, so that an answer of any length takes the memory of one page.

In: a question and how to ask a page. Out: chunks of the body. Errors: those of the first page are told as usual; later
ones are tried again for a while, then the connection breaks off, so that a partial answer never looks whole.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal, cast

import msgspec

from parsec.core.errors import Retryable
from parsec.query.sql.page import Page, Question

Format = Literal["json", "ndjson", "csv"]

MEDIA_TYPES: dict[Format, str] = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}
PAGE_EVENTS = 1_000
ATTEMPTS = 10
CSV_COLUMNS = ("timestamp", "severity", "source", "message", "id", "metadata")

_ENCODER = msgspec.json.Encoder()

AskPage = Callable[[Question], Awaitable[Page]]


def accepted(header: str) -> Format:
    """The format that an Accept header likes best, of several the one that it names first; else JSON."""
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


async def chunks(form: Format, first: Page, question: Question, ask: AskPage) -> AsyncIterator[bytes]:
    """`first` answers `question`; what follows is asked for as the client takes it, to the end."""
    yield whole(form, first, question)
    page = first
    while page.cursor is not None:
        page = await _patiently(ask, msgspec.structs.replace(question, cursor=page.cursor))
        yield _rows(page, question) if form == "csv" else _lines(page)


def whole(form: Format, page: Page, question: Question) -> bytes:
    """A page as a body of its own."""
    return _csv([_names(question)]) + _rows(page, question) if form == "csv" else _lines(page)


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def _names(question: Question) -> Sequence[str]:
    return question.fields or CSV_COLUMNS


def _rows(page: Page, question: Question) -> bytes:
    return _csv([[_cell(each.get(name)) for name in _names(question)] for each in page.events])


async def _patiently(ask: AskPage, question: Question) -> Page:
    for _ in range(ATTEMPTS - 1):
        try:
            return await ask(question)
        except Retryable as error:
            await asyncio.sleep(error.after_s)
    return await ask(question)


def _lines(page: Page) -> bytes:
    return b"".join(_ENCODER.encode(each) + b"\n" for each in page.events)


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _cell(value: object) -> str:
    """Text as it is, nothing as nothing, all else as JSON."""
    if isinstance(value, msgspec.Raw) and bytes(value).startswith((b'"', b"n")):
        value = msgspec.json.decode(value)
    if value is None:
        return ""
    return value if isinstance(value, str) else _ENCODER.encode(value).decode()
