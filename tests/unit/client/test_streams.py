"""Streams of a server that falls silent, that sends faster than is taken, and whose reader leaves."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest

from parsec.client import AsyncClient, Client, Gap
from parsec.client.async_transport import MAX_BUFFERED, AsyncConnection, request_bytes
from parsec.client.transport import connection_options
from tests.support.waiting import Waiting

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"id":"a"}\n\n'


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


@contextmanager
def streaming(then: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that answers each connection with a stream; `then` says how it goes on, on a thread of its own."""
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(30)
            connection.recv(65536)
            connection.sendall(HEAD + chunk(b": from now on\n\n"))
            then(connection)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(30)
                assert not thread.is_alive()


def one_event_then_silence(left: threading.Event) -> Callable[[socket.socket], None]:
    def then(connection: socket.socket) -> None:
        connection.sendall(chunk(EVENT))
        assert connection.recv(1) == b""  # the reader has left
        left.set()

    return then


def shown(found: msgspec.Raw | Gap) -> object:
    return found if isinstance(found, Gap) else json.loads(bytes(found))["id"]


def test_a_silent_connection_is_replaced_and_one_that_nobody_reads_is_closed() -> None:
    left, waiting = threading.Event(), Waiting()
    with streaming(one_event_then_silence(left)) as url:
        with Client(url, timeout_s=0.1, retry=waiting.retry) as client:
            tail = client.tail("acme")
            assert [shown(next(tail)) for _ in range(3)] == ["a", Gap(away=True), "a"]
            assert "no answer in time" in waiting.reasons[0]
            left.wait(30)
            left.clear()
            tail.close()
        assert left.wait(30)


def test_so_it_is_with_asyncio() -> None:
    left, waiting = threading.Event(), Waiting()

    async def do(url: str) -> None:
        async with AsyncClient(url, timeout_s=0.1, retry=waiting.retry, sleep=waiting.sleep_async) as client:
            tail = client.tail("acme")
            assert [shown(await anext(tail)) for _ in range(3)] == ["a", Gap(away=True), "a"]
            assert "no answer in time" in waiting.reasons[0]
            await asyncio.to_thread(left.wait, 30)
            left.clear()
            await tail.aclose()
        assert await asyncio.to_thread(left.wait, 30)

    with streaming(one_event_then_silence(left)) as url:
        asyncio.run(do(url))


def test_what_is_not_taken_waits_in_bounded_memory() -> None:  # [2] of async_connection
    sent = 0
    piece = chunk(b"data: " + json.dumps("x" * 10_000).encode() + b"\n\n")

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        for _ in range(2_000):
            connection.sendall(piece)
            sent += 1
        connection.sendall(b"0\r\n\r\n")

    async def do(url: str) -> int:
        options = connection_options(url, None, None, 30.0)
        connection = await AsyncConnection.connect(options)
        stream = connection.stream(request_bytes(options, "/query/tail"))
        await anext(stream)
        assert connection._transport is not None
        while connection._transport.is_reading():  # noqa: ASYNC110 (nothing tells that it pauses)
            await asyncio.sleep(0)
        assert MAX_BUFFERED < connection._buffered <= MAX_BUFFERED + (256 << 10)
        assert sent < 2_000
        taken = sum([len(found) async for found in stream if isinstance(found, bytes)])
        connection.close()
        return taken

    with streaming(flood) as url:
        taken = asyncio.run(do(url))
    assert taken == len(b": from now on\n\n") + 2_000 * len(piece[piece.index(b"\n") + 1 : -2])


def test_a_stream_that_breaks_within_an_event_gives_none_of_it() -> None:
    waiting = Waiting()
    broken = streaming(lambda connection: connection.sendall(chunk(EVENT + b'data: {"id":"hal')))
    with broken as url, Client(url, timeout_s=30.0, retry=waiting.retry) as client:
        tail = client.tail("acme", give_up_after_s=60.0)
        assert [shown(next(tail)) for _ in range(3)] == ["a", Gap(away=True), "a"]
        tail.close()
    with pytest.raises(StopIteration):
        next(tail)
