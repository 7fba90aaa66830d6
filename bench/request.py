"""What a request costs on the event loop without sockets, disk and store: bytes in, answer out, events in the channel.

python bench/request.py [--runs 3] [--json bench/results/request.json]

The best of many short runs, so that it can be compared on a noisy machine.
"""

import asyncio
import time

import uvloop
from uvicorn.config import Config
from uvicorn.server import ServerState

from _running import arguments, publish
from parsec import logs
from parsec.core.clock import SystemClock, SystemRandom
from parsec.ingest.admission import Admission
from parsec.ingest.channel import BatchLimits, Channel
from parsec.ingest.pipeline import Identity, Pipeline, PipelineOptions
from parsec.ingest.rate_limits import Policy, TenantLimits
from parsec.keys.keyring import Keyring
from parsec.loadgen.plan import Plan, Schedule
from parsec.telemetry import Telemetry
from parsec.web.auth import Authenticator
from parsec.web.http1.connection_limiter import ClientLimits, ConnectionLimiter
from parsec.web.http1.fast_path import FastPathConnection
from parsec.web.request_body import RequestBodyReader
from parsec.web.routes.ingest import IngestRoute
from parsec.web.routes.keyless import KeylessSenders

REQUESTS = 500


class Transport(asyncio.Transport):
    """Takes answers and counts them."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.answers = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert bytes(data[:15]) == b"HTTP/1.1 200 OK", bytes(data)
        self.answers += 1

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


async def nobody(scope: object, receive: object, send: object) -> None:
    """The short way needs no application."""
    raise AssertionError(f"a request went the long way: {scope} {receive} {send}")


def request_us(batch: int, runs: int) -> dict[str, float]:
    """Microseconds per request and per event, the best of `runs`."""

    async def run() -> float:
        telemetry, clock = Telemetry(), SystemClock()
        channel = Channel(REQUESTS * batch + 1, 1 << 40)
        options = PipelineOptions(Identity("local", "node-1"), 10_000, 1 << 18, False, "body", 30.0)
        admission = Admission(channel, TenantLimits(Policy(), clock), 1 << 40, lambda: None)
        pipeline = Pipeline(admission, options, telemetry, clock, SystemRandom())
        bodies, authenticator = RequestBodyReader(admission, 1 << 24), Authenticator(Keyring(None, clock))
        limits = ClientLimits(
            connections=10, head_timeout_s=10, body_timeout_s=30, min_rate=1000, send_timeout_s=30,
            max_head_bytes=1 << 15, max_url_bytes=1 << 13,
        )  # fmt: skip
        config = Config(nobody, http="httptools", ws="none", log_config=None)
        config.load()
        connection = FastPathConnection(
            IngestRoute(pipeline, bodies, authenticator, KeylessSenders(telemetry, "required")),
            ConnectionLimiter(limits, telemetry),
            config=config, server_state=ServerState(), app_state={},
        )  # fmt: skip
        transport = Transport()
        connection.connection_made(transport)
        schedule = Schedule(Plan("http://127.0.0.1:8080", batch=batch, rate=0, duration_s=1e9))
        best = float("inf")
        for _ in range(runs):
            requests = [one for _ in range(REQUESTS) if (one := schedule.next_request()) is not None]
            before = transport.answers
            started = time.perf_counter()
            for data, _ in requests:
                connection.data_received(data)
                waiting = channel.take(BatchLimits(1, 1), 0) or []
                channel.acknowledge(waiting, "durable")
            best = min(best, time.perf_counter() - started)
            assert transport.answers - before == REQUESTS
        return best / REQUESTS * 1e6

    us = uvloop.run(run())
    return {"us_per_request": us, "us_per_event": us / batch}


def main() -> None:
    asked = arguments(__doc__ or "")
    logs.configure("info", "console")
    publish({f"{batch} per request": request_us(batch, asked.runs * 5) for batch in (1, 100)}, asked.json)


if __name__ == "__main__":
    main()
