"""A tail across connections: what is yielded, what is told of the time between, when it is given up."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.client import Client, Gap
from parsec.client.tail import MAX_MESSAGE_BYTES, EventStream
from parsec.core.errors import Rejected, Retryable
from tests.support.answering import Answering, Reply, problem
from tests.support.process import free_port
from tests.support.waiting import Waiting

STREAM = (
    b'retry: 1000\n: from now on\n\ndata: {"id":"a","message":"\xc3\xa9"}\n\n: nothing new\n\n'
    b'event: gap\ndata: {"skipped":3,"unchecked":4}\n\n'
    b'data: {"id":\r\ndata:"b"}\r\n\r\nevent: end\ndata: {"why":"x"}\n\n'
)
NO = problem(400, "invalid_query", "Column 1: no.")


def shown(found: msgspec.Raw | Gap) -> object:
    return found if isinstance(found, Gap) else json.loads(bytes(found))


WANTED = [{"id": "a", "message": "\u00e9"}, Gap(skipped=3, unchecked=4), {"id": "b"}]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_may_come_in_any_pieces(cuts: list[int]) -> None:
    messages = EventStream()
    ends = [*sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    assert [shown(each) for piece in pieces for each in messages.feed(piece)] == WANTED


def test_a_connection_that_ends_is_replaced_and_the_gap_is_told(server: Answering) -> None:
    server.will(Reply(200, STREAM), Reply(503, b"{}", {"Retry-After": "2"}), Reply(0), Reply(200, STREAM), NO)
    waiting = Waiting()
    with Client(server.url, api_key="k", retry=waiting.retry) as client:
        tail = client.tail("acme", q="a b")
        assert [shown(next(tail)) for _ in range(7)] == [*WANTED, Gap(away=True), *WANTED]
        with pytest.raises(Rejected) as caught:
            next(tail)
    assert caught.value.code == "invalid_query"
    assert waiting.waits == [0.1, 2.0, 0.4, 0.1]
    assert {asked.path for asked in server.asked} == {"/query/tail?tenant=acme&q=a+b"}
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer k"}


def test_the_first_connection_is_tried_once_and_later_ones_until_it_is_given_up(server: Answering) -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(Retryable, match="refused"):
        next(client.tail("acme"))
    server.will(Reply(200, STREAM), Reply(429, b"{}", {"Retry-After": "7"}))
    waiting = Waiting()
    with Client(server.url, retry=waiting.retry) as client, pytest.raises(Retryable, match="gave up after 20 s"):
        list(client.tail("acme", give_up_after_s=20.0))
    assert waiting.waits == [0.1, 7.0, 7.0]


@pytest.mark.parametrize(
    "stream", [b"data: <html>\n\n", b'event: gap\ndata: {"skipped":"x"}\n\n', b"x" * (MAX_MESSAGE_BYTES + 1)]
)
def test_what_is_no_stream_of_events_is_refused(stream: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        list(EventStream().feed(stream))
    assert caught.value.code == "not_parsec"
