"""Formats by the header Accept, and pages that fail in the middle of a stream."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from parsec.core.errors import Rejected, Retryable
from parsec.query.sql.page import Page, PageRequest
from parsec.query.timerange import TimeRange
from parsec.web.export import ATTEMPTS, accepted_format, all_pages

RANGE = TimeRange(0, 1)
QUESTION = PageRequest("acme", RANGE, 2, fields=("id",))
FIRST = Page([{"id": "a"}, {"id": "b"}], "next", RANGE)
LAST = Page([{"id": "c"}], None, RANGE)


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("", "json"), ("*/*", "json"), ("text/html", "json"), ("text/csv", "csv"), ("application/x-ndjson", "ndjson"),
        ("TEXT/CSV;q=0.5, application/x-ndjson;q=0.6", "ndjson"), ("application/json;q=0.1,text/csv ; q=1.0", "csv"),
        ("text/csv;q=0, */*;q=0.1", "json"), ("text/csv;q=0.5, application/*", "json"), ("text/csv;q=x", "json"),
        ("text/csv, application/x-ndjson", "csv"), ("text/csv;charset=utf-8;q=0.9, application/json;q=0.8", "csv"),
    ],
)  # fmt: skip
def test_the_format_that_a_client_likes_best_is_sent(header: str, form: str) -> None:
    assert accepted_format(header) == form


def read(*answers: Page | Exception) -> list[bytes]:
    """What is sent while the pages after the first are answered so."""
    left = list(answers)

    async def ask(question: PageRequest) -> Page:
        assert question.cursor == "next"
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def all_of(body: AsyncIterator[bytes]) -> list[bytes]:
        return [chunk async for chunk in body]

    sent = asyncio.run(all_of(all_pages("ndjson", FIRST, QUESTION, ask)))
    assert left == []
    return sent


def test_a_page_that_cannot_be_had_for_a_while_is_asked_for_again() -> None:
    busy = Retryable("busy", after_s=0.0)
    assert b"".join(read(*[busy] * (ATTEMPTS - 1), LAST)) == b'{"id":"a"}\n{"id":"b"}\n{"id":"c"}\n'


@pytest.mark.parametrize("failing", [[Rejected("x", "x")], [Retryable("x", after_s=0.0)] * ATTEMPTS])
def test_a_page_that_cannot_be_had_breaks_off_the_stream(failing: list[Exception]) -> None:
    with pytest.raises(type(failing[0])):
        read(*failing)
