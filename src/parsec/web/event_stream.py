"""Events as JSON lines or CSV, page after page, so that an answer of any length takes the memory of one page.

In: a question and how to ask a page. Out: chunks of the body. Errors: those of the first page are told as usual; later
ones are tried again for a while, then the connection breaks off, so that a partial answer never looks whole.
"""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal

import msgspec

from parsec.core.errors import Retryable
from parsec.query.events import Page, Question

Format = Literal["json", "ndjson", "csv"]

MEDIA_TYPES: dict[Format, str] = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}
PAGE_EVENTS = 1_000
ATTEMPTS = 10
CSV_COLUMNS = ("timestamp", "severity", "source", "message", "id", "metadata")

_ENCODER = msgspec.json.Encoder()

AskPage = Callable[[Question], Awaitable[Page]]


def accepted(header: str) -> Format:
    """The format that an Accept header asks for first; JSON where it names none of ours."""
    for part in header.split(","):
        wanted = part.partition(";")[0].strip().lower()
        for name, media_type in MEDIA_TYPES.items():
            if wanted == media_type:
                return name
    return "json"


async def chunks(
    form: Format, first: Page, question: Question, limit: int | None, ask: AskPage
) -> AsyncIterator[bytes]:
    """`first` answers `question`; what follows is asked for as the client takes it. `limit` None: to the end."""
    shown = question.fields or CSV_COLUMNS
    if form == "csv":
        yield _csv([shown])
    page, left = first, limit
    while True:
        yield (
            _csv([[_cell(each.get(name)) for name in shown] for each in page.events]) if form == "csv" else _lines(page)
        )
        left = None if left is None else left - len(page.events)
        if page.cursor is None or left == 0:
            return
        size = PAGE_EVENTS if left is None else min(left, PAGE_EVENTS)
        page = await _patiently(ask, msgspec.structs.replace(question, cursor=page.cursor, limit=size))


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
