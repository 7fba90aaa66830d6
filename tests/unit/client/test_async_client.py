"""The client for asyncio: the same decisions as Client, on connections of its own.

Numbers in brackets are those of parsec.client.async_transport.
"""

import asyncio
import inspect
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import assert_type

import msgspec
import pytest

from parsec.client import AsyncClient, Client, EventPage, Gap
from parsec.core.errors import Rejected, Retryable
from tests.support.answering import Answering, Reply, accepted, page, problem, refused
from tests.support.process import free_port
from tests.support.tls import certificate, tls_in_front_of
from tests.support.waiting import Waiting

ALL_WELL = accepted(2)
FULL = refused(429, "queue_full", "The queue is full.", retry_after="7")


def some(count: int, cursor: str | None) -> Reply:
    return page(*({"id": str(n)} for n in range(count)), cursor=cursor)


def run(server: Answering, do: Callable[[AsyncClient], Awaitable[None]], waiting: Waiting | None = None) -> list[float]:
    """What `do` waited for with a client for this server."""
    waiting = waiting or Waiting()

    async def within() -> None:
        async with AsyncClient(
            server.url, api_key="k", retry=waiting.retry, sleep=waiting.sleep_async, timeout_s=20.0
        ) as client:
            await do(client)

    asyncio.run(within())
    return waiting.waits


def test_busy_servers_get_the_very_same_bytes_after_retry_after(server: Answering) -> None:
    server.will(FULL, Reply(503, b"<html>", {"Retry-After": "2"}), Reply(0), Reply(502, b""), ALL_WELL)

    async def do(client: AsyncClient) -> None:
        assert (await client.send(b"the body", defaults={"tenant_id": "acme corp"})).accepted == 2

    assert run(server, do) == [7.0, 2.0, 0.4]  # the connection that was closed is replaced at once
    assert [asked.body for asked in server.asked] == [b"the body"] * 5
    assert server.asked[0].path == "/ingest?tenant_id=acme+corp"
    assert server.asked[0].headers["authorization"] == "Bearer k"


def test_it_gives_up_in_time_and_says_why(server: Answering) -> None:
    server.will(FULL)

    async def do(client: AsyncClient) -> None:
        with pytest.raises(Retryable, match="gave up after 20 s: The queue is full"):
            await client.send(b"{}", give_up_after_s=20.0)

    assert run(server, do) == [7.0, 7.0]


def test_nobody_listens_and_nobody_answers() -> None:
    async def do() -> None:
        async with AsyncClient(f"http://127.0.0.1:{free_port()}") as client:
            with pytest.raises(Retryable, match="connection refused"):
                await client.query("acme")
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with AsyncClient(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.05) as client:
                with pytest.raises(Retryable, match="no answer in time"):
                    await client.query("acme")

    asyncio.run(do())


def test_a_kept_connection_that_was_closed_meanwhile_costs_no_wait(server: Answering) -> None:
    server.will(ALL_WELL, Reply(0), ALL_WELL)

    async def do(client: AsyncClient) -> None:
        await client.send(b"1")
        await client.send(b"2")

    assert run(server, do) == []
    assert [asked.body for asked in server.asked] == [b"1", b"2", b"2"]


def test_a_connection_is_used_again_and_tasks_have_their_own(server: Answering) -> None:  # [1]
    server.will(ALL_WELL)
    found: list[int] = []

    async def do(client: AsyncClient) -> None:
        await client.send(b"1")
        await client.send(b"2")
        found.append(len(client._idle))
        await asyncio.gather(*(client.send(b"x") for _ in range(5)))
        found.append(len(client._idle))

    run(server, do)
    assert found == [1, 5]


def test_a_question_that_is_cancelled_leaves_no_answer_for_the_next(server: Answering) -> None:  # [1]
    server.will(some(1, None))

    async def do(client: AsyncClient) -> None:
        await client.query("warm")
        asked = asyncio.create_task(client.query("cancelled"))
        while len(server.asked) == 1:  # noqa: ASYNC110  it is another thread that is waited for
            await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert len((await client.query("next")).events) == 1

    run(server, do)


def test_a_refusal_before_the_body_was_read_is_heard(server: Answering) -> None:
    server.will(refused(413, "payload_too_large")._replace(unread=True))

    async def do(client: AsyncClient) -> None:
        with pytest.raises(Rejected) as caught:
            await client.send(bytes(32 << 20))  # more than the sockets between take in
        assert (caught.value.code, caught.value.status) == ("payload_too_large", 413)

    run(server, do)


def test_questions_are_answered_and_pages_followed(server: Answering) -> None:
    buckets = b'[{"start":"t","count":3,"by":{}}]'
    known = b'"complete_until":"t","missing":[],"from":"t","to":"t"'
    histogram = Reply(200, b'{"interval_s":60,"buckets":%s,%s}' % (buckets, known))
    letters = page(of="dead_letters")
    busy = Reply(503, b"{}", {"Retry-After": "1"})
    server.will(histogram, some(1000, "c1"), busy, some(5, None), letters, problem(400, "invalid_query"))

    async def do(client: AsyncClient) -> None:
        assert (await client.histogram("acme", q="x", interval_s=60)).buckets[0].count == 3
        pages = client.pages("acme", limit=None, order="oldest", give_up_after_s=60.0)
        assert [len(found.events) async for found in pages] == [1000, 5]
        assert [found.dead_letters async for found in client.dead_letter_pages("acme")] == [[]]
        with pytest.raises(Rejected):
            await client.fields("acme", q="(")

    assert run(server, do) == [1.0]
    assert server.asked[0].path == "/query/histogram?tenant=acme&q=x&interval=60"


def test_a_tail_replaces_its_connection_and_tells_the_gap(server: Answering) -> None:
    stream = Reply(200, b': hello\n\ndata: {"id":"a"}\n\nevent: gap\ndata: {"skipped":3}\n\n')
    server.will(stream, Reply(503, b"{}", {"Retry-After": "2"}), stream, problem(403, "forbidden"))
    found: list[object] = []

    async def do(client: AsyncClient) -> None:
        tail = client.tail("acme", q="x")
        for _ in range(5):
            each = await anext(tail)
            found.append(bytes(each) if isinstance(each, msgspec.Raw) else each)
        with pytest.raises(Rejected):
            await anext(tail)

    assert run(server, do) == [0.1, 2.0, 0.1]
    assert found == [b'{"id":"a"}', Gap(skipped=3), Gap(away=True), b'{"id":"a"}', Gap(skipped=3)]
    assert server.asked[0].path == "/query/tail?tenant=acme&q=x"


def test_what_speaks_no_http_is_told() -> None:
    async def ssh(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-Server_9\r\n")
        await writer.drain()
        writer.close()

    async def do() -> None:
        server = await asyncio.start_server(ssh, "127.0.0.1", 0)
        async with AsyncClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
            with pytest.raises(Retryable, match="not HTTP"):
                await client.query("acme")
        server.close()

    asyncio.run(do())


def test_certificates_to_trust_are_read_from_a_file(server: Answering, tmp_path: Path) -> None:
    server.will(ALL_WELL)
    made, key = certificate(tmp_path)

    async def do(url: str) -> None:
        async with AsyncClient(url, ca_file=str(made)) as client:
            assert (await client.send(b"{}")).accepted == 2
        async with AsyncClient(url) as client:
            with pytest.raises(Retryable, match="PARSEC_CA_FILE"):
                await client.send(b"{}", give_up_after_s=0)

    with tls_in_front_of(int(server.url.rpartition(":")[2]), made, key) as port:
        asyncio.run(do(f"https://127.0.0.1:{port}"))


def test_both_clients_ask_the_same_with_the_same_words() -> None:
    own = {"close", "abandon"}
    public = {name for name in vars(Client) if not name.startswith("_")} - own
    assert public == {name for name in vars(AsyncClient) if not name.startswith("_")} - own
    for name in public:
        sync, asynchronous = getattr(Client, name), getattr(AsyncClient, name)
        assert asynchronous.__doc__ in (
            sync.__doc__,
            f"As Client.{name}.",
            "Closes the idle connections. Safe to call twice.",
        )
        names = [list(inspect.signature(each).parameters) for each in (sync, asynchronous)]
        assert names[0] == names[1], name


def test_answers_have_types(server: Answering) -> None:
    """For the type checker as much as for the interpreter: questions are bound to the clients by a decorator."""
    server.will(some(1, None))
    with Client(server.url) as client:
        found = assert_type(client.query("acme", q="x", limit=1), EventPage)
    assert isinstance(found, EventPage)

    async def do(client: AsyncClient) -> None:
        assert isinstance(assert_type(await client.query("acme", q="x", limit=1), EventPage), EventPage)

    run(server, do)


def test_importing_the_client_loads_nothing_heavy() -> None:
    """What a program pays that only wants to send: neither asyncio nor anything of the server."""
    code = "import sys, parsec.client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "parsec.client.client" in loaded
    heavy = {"asyncio", "httptools", "rich", "click", "lark", "starlette", "uvicorn", "structlog", "prometheus_client"}
    assert not heavy & set(loaded)
    parts = {name.split(".")[1] for name in loaded if name.startswith("parsec.")}
    assert parts == {"api", "client", "core"}
