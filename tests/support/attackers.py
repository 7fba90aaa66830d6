"""Clients that mean harm, many at once, in a process of their own so that they take no turns from whoever measures.

`slow` connections send a byte a second, of heads or of bodies, and come again when they are cut off; `bombs` are
compressed bodies that want to be many times larger than a request may be, sent again as soon as they are answered.
"""

import asyncio
import gzip
import multiprocessing
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HEAD = b"POST /ingest HTTP/1.1\r\nHost: localhost\r\n"
SLOW_HEADS = (b"GET /query/events?tenant=a&q=", HEAD + b"X-Header: ")
SLOW_BODIES = (
    HEAD + b"Content-Length: 60000\r\n\r\n",
    HEAD + b"Content-Length: 6000000\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n7fffff\r\n",
    b"POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6000000\r\n\r\n",
)
BOMB_BYTES = 256 << 20


@contextmanager
def attackers(port: int, *, slow_heads: int = 0, slow_bodies: int = 0, bombs: int = 0) -> Iterator[Counter[str]]:
    """`bombs`: of each kind at once. What was answered (by kind and status) is there at the end."""
    context = multiprocessing.get_context("spawn")
    stop, told = context.Event(), context.SimpleQueue()
    process = context.Process(target=_attack, args=(port, slow_heads, slow_bodies, bombs, stop, told), daemon=True)
    process.start()
    answers: Counter[str] = Counter()
    try:
        told.get()  # they are there
        yield answers
    finally:
        stop.set()
        if process.is_alive():
            answers.update(told.get())
        process.join(10)
        process.kill()


def bombs_of_each_kind() -> dict[str, tuple[str, bytes]]:
    """Name to `Content-Encoding` and body: 256 MiB of zeros, or nearly as many blanks as a request may have bytes."""
    piece = bytes(1 << 20)
    deflated, zstandard = zlib.compressobj(9), zstd.ZstdCompressor()
    deflate = b"".join(deflated.compress(piece) for _ in range(BOMB_BYTES >> 20)) + deflated.flush()
    zstd_ = b"".join(zstandard.compress(piece) for _ in range(BOMB_BYTES >> 20)) + zstandard.flush()
    member = gzip.compress(piece, 9)
    members = member * (BOMB_BYTES >> 20)
    one = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    single = b"".join(one.compress(piece) for _ in range(BOMB_BYTES >> 20)) + one.flush()
    return {
        "gzip": ("gzip", single),
        "zstd": ("zstd", zstd_),
        "deflate": ("deflate", deflate),
        "nested": ("gzip", gzip.compress(single, 9)),
        "nested twice named": ("gzip, gzip", gzip.compress(single, 9)),
        "many members": ("gzip", members),
        "many frames": ("zstd", zstd.compress(piece) * (BOMB_BYTES >> 20)),
        "just below the limit": ("gzip", gzip.compress(b" " * (16 << 20), 9)),
    }


def _attack(
    port: int, slow_heads: int, slow_bodies: int, bombs: int, stop: Event, told: "SimpleQueue[Counter[str]]"
) -> None:
    asyncio.run(_run(port, slow_heads, slow_bodies, bombs, stop, told))


async def _run(
    port: int, slow_heads: int, slow_bodies: int, bombs: int, stop: Event, told: "SimpleQueue[Counter[str]]"
) -> None:
    answers: Counter[str] = Counter()
    kinds = bombs_of_each_kind() if bombs else {}
    tasks = [_slow(port, SLOW_HEADS[n % len(SLOW_HEADS)], "slow head", answers) for n in range(slow_heads)]
    tasks += [_slow(port, SLOW_BODIES[n % len(SLOW_BODIES)], "slow body", answers) for n in range(slow_bodies)]
    tasks += [_bomb(port, name, *bomb, answers) for name, bomb in kinds.items() for _ in range(bombs)]
    running = [asyncio.create_task(task) for task in tasks]
    await asyncio.sleep(1.0)
    told.put(Counter())
    await asyncio.to_thread(stop.wait)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    told.put(answers)


async def _slow(port: int, beginning: bytes, kind: str, answers: Counter[str]) -> None:
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answer = asyncio.create_task(reader.read(1000))
            writer.write(beginning)
            while not answer.done():
                writer.write(b"a")
                await asyncio.wait([answer], timeout=1.0)
            answers[f"{kind} {_status(answer.result())}"] += 1
            writer.close()
        await asyncio.sleep(0.1)


async def _bomb(port: int, kind: str, encoding: str, body: bytes, answers: Counter[str]) -> None:
    head = HEAD + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding.encode(), len(body))
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head + body)
            answers[f"{kind} {_status(await reader.read(1000))}"] += 1
            writer.close()
        except OSError as error:
            answers[f"{kind} {type(error).__name__}"] += 1
            await asyncio.sleep(0.1)


def _status(answer: bytes) -> str:
    return answer[9:12].decode() if answer else "closed"
