"""The load generator counts exactly what was answered, and keeps its schedule, whatever the server does.

Numbers in brackets are those of parsec.loadgen.connection.
"""

import asyncio
import contextvars
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from socket import create_server

import pytest

from parsec.api.ingest import IngestError
from parsec.core.errors import Rejected
from parsec.loadgen.load import Load
from parsec.loadgen.plan import Latencies, Plan, Result, Schedule
from tests.support.answering import Answering, Reply, accepted, answering, problem, refused
from tests.support.manual_clock import ManualClock
from tests.support.process import free_port


class Hurrying(asyncio.SelectorEventLoop):
    """Timers end at once and move the clock instead; the first `held` of them never end."""

    def __init__(self, clock: ManualClock, held: int) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.held_timers: list[asyncio.TimerHandle] = []
        self._clock = clock
        self._held = held

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        if self._held:
            self._held -= 1
            self.held_timers.append(super().call_later(3600, callback, *args, context=context))
            return self.held_timers[-1]
        self.waits.append(round(delay, 6))
        self._clock.advance(delay)
        return super().call_later(0, callback, *args, context=context)


class Hurried:
    """A load whose waits take no time."""

    def __init__(self, url: str, *, held: int = 0, connections: int = 1, batch: int = 1, **plan: object) -> None:
        clock = ManualClock()
        self.load = Load(Plan(url, connections=connections, batch=batch, **plan), clock.monotonic)  # type: ignore[arg-type]
        self._loop = Hurrying(clock, held)
        self.waits = self._loop.waits
        self.held_timers = self._loop.held_timers

    def run(self) -> Result:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            return runner.run(self.load.run())


def run(server: Answering, **plan: object) -> Result:
    return asyncio.run(Load(Plan(server.url, **plan)).run())  # type: ignore[arg-type]


def taken(events: int, *, close_after: bool = False) -> Reply:
    return accepted(events)._replace(close_after=close_after)


@contextmanager
def saying(words: bytes) -> Iterator[str]:
    """A server that says `words` to one connection, whatever it is asked, and stays open until the other side ends."""
    with create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(words)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_a_count_is_sent_whole_and_booked() -> None:
    with answering() as server:
        server.will(taken(10))
        result = run(server, connections=3, batch=10, events=200)
    assert (result.requests, result.accepted, result.statuses) == (20, 200, {200: 20})
    assert len({asked.body for asked in server.asked}) == 20
    assert all(len(json.loads(asked.body)) == 10 for asked in server.asked)
    assert (result.reconnected, result.unsent) == (0, 0)


def test_refusals_rejections_and_what_may_still_arrive_are_told_apart() -> None:
    replies = (
        taken(5),
        refused(429, "queue_full"),
        refused(503, "unavailable"),
        refused(503, "not_durable"),
        Reply(503, b"a proxy's page"),
        Reply(500),
        Reply(400),
        taken(5),
    )
    with answering() as server:
        server.will(*replies)
        result = Hurried(server.url, batch=5, events=40).run()
    assert (result.accepted, result.refused, result.unanswered, result.rejected) == (10, 10, 15, 5)
    assert result.statuses == {200: 2, 429: 1, 503: 3, 500: 1, 400: 1}
    assert result.latencies.count == 2


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_it_waits_as_long_as_it_is_told(rate: float) -> None:
    replies = (refused(429, "queue_full", retry_after="7"), refused(503, "unavailable"), taken(1))
    with answering() as server:
        server.will(*replies)
        hurried = Hurried(server.url, events=3, rate=rate)
        assert hurried.run().statuses == {429: 1, 503: 1, 200: 1}
    assert hurried.waits == [7.0, 0.1]


def test_a_pause_outlives_its_connection() -> None:
    with answering() as server:
        server.will(refused(429, "queue_full", retry_after="7", connection="close"), taken(1))
        hurried = Hurried(server.url, events=2)
        result = hurried.run()
    assert (result.accepted, result.refused, result.unanswered, result.reconnected) == (1, 1, 0, 1)
    assert hurried.waits == [7.0]


def test_a_pause_ends_with_the_plan_and_is_never_longer_than_a_minute() -> None:
    with answering() as server:
        server.will(refused(429, "queue_full", retry_after="86400"))
        short = Hurried(server.url, duration_s=2.0)
        assert short.run().requests == 1
        long = Hurried(server.url, events=2)
        long.run()
    assert (short.waits, long.waits) == ([2.0], [60.0, 60.0])


def test_a_rate_is_a_schedule_that_does_not_slip() -> None:
    clock = ManualClock()
    schedule = Schedule(Plan("127.0.0.1", batch=10, rate=500, duration_s=0.1), clock.monotonic)

    def due() -> float | None:
        request = schedule.next_request()
        return None if request is None else request[1]

    first = [due(), due(), due()]
    clock.advance(0.07)
    late = [due(), due(), due()]
    assert first == pytest.approx([0.0, 0.02, 0.04])
    assert late[:2] == pytest.approx([0.06, 0.08])
    assert late[2] is None  # the sixth would be due when the plan is over


def test_with_a_rate_latency_begins_when_a_request_was_due() -> None:
    readings = count()
    with answering() as server:
        server.will(taken(1))
        # Each look at the clock takes 0.1 s, so that 10 requests a second are far too many for one connection.
        load = Load(Plan(server.url, connections=1, batch=1, rate=10, events=20), lambda: next(readings) * 0.1)
        latencies = asyncio.run(load.run()).latencies
    assert latencies.quantile(0.05) < 1.0
    assert latencies.quantile(1.0) > 2.0


def test_what_a_rate_asked_for_and_nobody_could_send_is_told() -> None:
    readings = count()
    with answering() as server:
        server.will(taken(1))
        load = Load(Plan(server.url, connections=1, batch=1, rate=100, duration_s=2), lambda: next(readings) * 0.1)
        result = asyncio.run(load.run())
    assert result.accepted > 0
    assert result.unsent == 200 - result.accepted


def test_a_broken_connection_leaves_its_request_unanswered_and_is_replaced() -> None:
    with answering() as server:
        server.will(taken(5), Reply(0), taken(5))
        result = Hurried(server.url, batch=5, events=50).run()
    assert (result.accepted, result.unanswered, result.reconnected) == (45, 5, 1)


def test_an_answer_that_never_comes_leaves_its_request_unanswered() -> None:
    clock = ManualClock()

    async def run() -> Result:
        load = Load(Plan(url, connections=1, batch=5, events=5, timeout_s=30), clock.monotonic)
        running = asyncio.create_task(load.run())
        while not load.schedule.sent_requests:  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0)
        clock.advance(29)
        load.abort_overdue()
        await asyncio.sleep(0)
        assert not load.result.unanswered
        clock.advance(1)
        load.abort_overdue()
        return await running

    with saying(b"") as url:
        assert asyncio.run(run()).unanswered == 5


def test_a_connection_that_closes_between_requests_loses_none_of_them() -> None:  # [1]
    with answering() as server:
        server.will(taken(1, close_after=True), taken(1))
        hurried = Hurried(server.url, held=1, events=2, rate=1)
        result = hurried.run()
    assert (result.accepted, result.unanswered, result.reconnected) == (2, 0, 1)
    assert [timer.cancelled() for timer in hurried.held_timers] == [True]


def test_nothing_is_sent_to_a_server_that_said_it_will_close() -> None:
    with answering() as server:
        server.will(taken(1)._replace(headers={"Connection": "close"}, close_after=True))
        result = Hurried(server.url, events=20).run()
    assert (result.accepted, result.unanswered) == (20, 0)


def test_losses_are_forgiven_as_long_as_answers_come() -> None:
    with answering() as server:
        server.will(*[taken(1), Reply(0)] * 10, taken(1))
        result = Hurried(server.url, events=25).run()
    assert (result.accepted, result.unanswered, result.reconnected) == (15, 10, 10)


def test_a_server_that_only_hangs_up_is_given_up_and_the_account_stays_right() -> None:
    with answering() as server:
        server.will(taken(5), Reply(0))
        hurried = Hurried(server.url, batch=5, events=500)
        with pytest.raises(ConnectionError, match="without an answer"):
            hurried.run()
    assert (hurried.load.result.accepted, hurried.load.result.unanswered) == (5, 30)
    assert hurried.waits == [0.1, 0.2, 0.4, 0.8]


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (problem(401, "unauthorized"), "unauthorized"),
        (Reply(403), "http_403"),
        (Reply(404, b"not json"), "http_404"),
        (refused(413, "payload_too_large"), "payload_too_large"),
        (refused(415, "unknown_encoding"), "unknown_encoding"),
        (refused(400, "no_events"), "no_events"),
        (Reply(302), "http_302"),
    ],
)
def test_a_first_answer_that_refuses_for_good_ends_the_run(reply: Reply, code: str) -> None:
    with answering() as server:
        server.will(reply)
        with pytest.raises(Rejected) as caught:
            run(server, connections=1, batch=1, events=1000)
    assert caught.value.code == code
    assert len(server.asked) == 1


def test_events_that_are_all_rejected_end_a_run_that_had_none_accepted() -> None:
    with answering() as server:
        none = accepted(0, *[IngestError(None, None, "invalid_tenant", None, "No.")] * 5)
        server.will(taken(5), none)
        assert run(server, connections=1, batch=5, events=10).rejected == 5
        server.will(none)
        with pytest.raises(Rejected, match=r"No\.") as caught:
            run(server, connections=1, batch=5, events=10)
        assert caught.value.code == "invalid_tenant"


@pytest.mark.parametrize(
    "reply",
    [Reply(200, b"<html>a proxy's page"), Reply(200, b'{"success":true}'), taken(4), Reply(200, b"[]")],
    ids=["no JSON", "no counts", "other counts", "no object"],
)
def test_a_200_of_something_else_ends_the_run_at_any_time(reply: Reply) -> None:  # [2]
    with answering() as server:
        server.will(taken(5), reply)
        load = Load(Plan(server.url, connections=1, batch=5, events=1000))
        with pytest.raises(Rejected, match="no verdict for each"):
            asyncio.run(load.run())
    assert (load.result.accepted, load.result.statuses) == (5, {200: 2})


OK = b'HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{"success":true,"accepted":1,"error":[]}'


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (b"SSH-2.0-Server_9\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + bytes(1_100_000), "more than"),
        (OK + OK, "without a request"),
    ],
    ids=["other protocol", "upgrade", "endless", "two answers"],
)
def test_what_is_no_answer_ends_the_run(words: bytes, why: str) -> None:  # [2]
    with saying(words) as url, pytest.raises(Rejected, match=why) as caught:
        asyncio.run(Load(Plan(url, connections=1, batch=1, events=1000)).run())
    assert caught.value.code == "not_parsec"


def test_nobody_listens() -> None:
    with pytest.raises(OSError, match="Connect"):
        asyncio.run(Load(Plan(f"http://127.0.0.1:{free_port()}", connections=1)).run())


def test_the_address_is_understood_as_by_the_other_commands() -> None:
    with answering() as server:
        server.will(taken(1))
        run(server, connections=1, batch=1, events=1)
        asyncio.run(Load(Plan(server.url.removeprefix("http://") + "/logs/", batch=1, events=1)).run())
        with pytest.raises(ssl.SSLError):
            asyncio.run(Load(Plan(server.url.replace("http", "https"), batch=1, events=1)).run())
    assert [asked.path for asked in server.asked] == ["/ingest?ack=durable", "/logs/ingest?ack=durable"]
    with pytest.raises(ValueError, match="is not a URL"):
        Load(Plan("ftp://127.0.0.1"))


def test_quantiles_are_right_to_a_step() -> None:
    latencies = Latencies()
    for n in range(1, 1001):
        latencies.add(n / 1000)
    for q in (0.5, 0.9, 0.99, 1.0):
        assert latencies.quantile(q) == pytest.approx(q, rel=0.03)
    assert Latencies().quantile(0.5) == 0.0
