"""ParsecHandler against servers that answer, refuse, hang and come back; invariants as in parsec.client.send_queue."""

import json
import logging
import logging.config
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from parsec.client import Client, IngestError, ParsecHandler, RetryPolicy
from parsec.client.send_queue import SendQueue
from tests.support.answering import Answering, Reply, accepted, problem, refused
from tests.support.process import free_port
from tests.support.waiting import Waiting

BUSY = problem(503, "unavailable", "The disk is full.")


def took(count: int = 1, rejected: int = 0) -> Reply:
    return accepted(count - rejected, *[IngestError(0, None, "invalid_source", "source", "Not so.")] * rejected)


Make = Callable[..., tuple[logging.Logger, ParsecHandler]]


@pytest.fixture
def logger_to() -> Iterator[Make]:
    """A logger of its own with a ParsecHandler, which is taken away again."""
    made: list[tuple[logging.Logger, ParsecHandler]] = []

    def make(url: str, **more: Any) -> tuple[logging.Logger, ParsecHandler]:
        logger = logging.Logger("app", 1)  # of nobody else's, so that nothing of pytest's listens
        handler = ParsecHandler(url, **{"tenant": "acme", "timeout_s": 20.0, **more})
        logger.addHandler(handler)
        made.append((logger, handler))
        return logger, handler

    yield make
    for logger, handler in made:
        logger.removeHandler(handler)
        handler.close()


def sent(server: Answering) -> list[Any]:
    """All events of all requests, repeated ones once."""
    found = {event["id"]: event for asked in server.asked for event in map(json.loads, asked.body.split(b"\n"))}
    return list(found.values())


def until_sent(handler: ParsecHandler, count: int) -> None:
    """Waits for the sending thread."""
    changed = handler._queue._changed
    with changed:
        assert changed.wait_for(lambda: handler.counts.sent == count, 20)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Waiting:
    """What the sending threads of handlers wait, which takes no time."""
    waiting = Waiting()

    class Hurried(SendQueue):
        def __init__(self, connect: Callable[[], Client], max_bytes: int, summary: Callable[[int], bytes], _: object):
            super().__init__(connect, max_bytes, summary, waiting.retry)

        def _pause(self, seconds: float) -> None:
            waiting.sleep(seconds)
            self._changed.notify_all()  # a flush may be late by now

    monkeypatch.setattr("parsec.client.logging_handler.SendQueue", Hurried)
    return waiting


def test_records_arrive_together_after_a_flush(
    server: Answering, logger_to: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parsec.client.send_queue.BATCH_LINGER_S", 1000.0)
    server.will(took(3))
    logger, handler = logger_to(server.url, source="billing", api_key="k-1")
    logger.info("paid %s", 42, extra={"order": 4711})
    logger.debug("one")
    logger.error("two")
    assert handler.flush()
    assert len(server.asked) == 1
    assert (server.asked[0].path, server.asked[0].headers["authorization"]) == ("/ingest", "Bearer k-1")
    first, second, third = sent(server)
    assert (first["message"], first["metadata"]["order"], first["severity"]) == ("paid 42", 4711, "info")
    assert (first["tenant_id"], first["source"]) == ("acme", "billing")
    assert (second["severity"], third["severity"]) == ("debug", "error")
    counts = handler.counts
    assert (counts.put, counts.sent, counts.dropped, counts.rejected) == (3, 3, 0, 0)


def test_without_a_flush_an_event_is_on_its_way_after_a_second(
    server: Answering, logger_to: Make, waiting: Waiting
) -> None:
    server.will(took())
    logger, handler = logger_to(server.url)
    logger.info("alone")
    until_sent(handler, 1)
    assert waiting.waits == [1.0]


def test_a_full_batch_is_on_its_way_at_once(
    server: Answering, logger_to: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parsec.client.send_queue.BATCH_LINGER_S", 1000.0)
    server.will(took(500))
    logger, handler = logger_to(server.url)
    for n in range(501):
        logger.info("many %d", n)
    until_sent(handler, 500)
    assert [asked.body.count(b"\n") + 1 for asked in server.asked] == [500]
    server.replies[0] = took(1)


def test_a_formatter_decides_on_the_message(server: Answering, logger_to: Make) -> None:
    server.will(took())
    logger, handler = logger_to(server.url)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.warning("x")
    assert handler.flush()
    assert sent(server)[0]["message"] == "WARNING: x"


def test_a_busy_server_gets_the_very_same_bytes_when_it_said(
    server: Answering, logger_to: Make, waiting: Waiting
) -> None:
    server.will(Reply(429, b"{}", {"Retry-After": "17"}), BUSY, Reply(0), took(2))
    logger, handler = logger_to(server.url, timeout_s=60.0)
    with handler._queue._changed:  # so that the thread sees both
        logger.info("a")
        logger.info("b")
    assert handler.flush()
    assert 17.0 in waiting.waits
    assert len({asked.body for asked in server.asked}) == 1
    assert len(server.asked) == 4
    assert handler.counts.sent == 2


def test_what_is_refused_or_rejected_is_counted_and_told_once(
    server: Answering, logger_to: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    server.will(problem(401, "unauthorized", "No key."))
    logger, handler = logger_to(server.url)
    for _ in range(3):
        logger.info("x")
        assert handler.flush()
    assert (handler.counts.put, handler.counts.dropped) == (3, 3)
    assert capsys.readouterr().err == "parsec: log events are refused: No key. (unauthorized)\n"
    server.replies.clear()
    server.will(took(2, rejected=1))
    logger.info("y")
    logger.info("z")
    assert handler.flush()
    assert (handler.counts.sent, handler.counts.rejected) == (1, 1)
    assert capsys.readouterr().err == "parsec: log events are rejected: Not so. (invalid_source)\n"


def test_a_batch_that_is_too_large_is_halved(server: Answering, logger_to: Make) -> None:
    large = refused(413, "too_many_events")
    server.will(large, took(1), large, took(1), took(1))
    logger, handler = logger_to(server.url)
    for n in range(3):
        logger.info("%d", n)
    assert handler.flush()
    assert [asked.body.count(b"\n") + 1 for asked in server.asked] == [3, 1, 2, 1, 1]
    assert handler.counts.sent == 3
    assert handler._queue._bytes == 0


def test_memory_is_bounded_and_what_is_dropped_is_told_when_there_is_room(  # [1] [2]
    server: Answering, logger_to: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    server.will(BUSY)
    logger, handler = logger_to(server.url, max_bytes=100_000, source="billing")
    for n in range(2_000):
        logger.info("number %d %s", n, "x" * 200)
        assert handler._queue._bytes <= 100_000
    dropped = handler.counts.dropped
    assert 1_000 < dropped < 2_000
    assert capsys.readouterr().err == "parsec: log events are dropped, because 100,000 bytes (max_bytes) already wait\n"
    server.replies.clear()
    server.will(took(500))
    assert handler.flush()
    assert handler.counts.put == 2_001  # told even when nothing is logged any more
    logger.info("after")
    assert handler.flush()
    events = sent(server)
    assert [event["message"].split()[1] for event in events[:-2]] == [str(n) for n in range(2_000 - dropped)]
    assert events[-2]["message"].startswith(f"{dropped:,} log events were dropped before this one")
    assert (events[-2]["metadata"]["dropped"], events[-2]["severity"]) == (dropped, "warn")
    assert events[-1]["message"] == "after"
    counts = handler.counts
    assert (counts.put, counts.sent) == (2_002, 2_002 - dropped)
    assert handler._queue._bytes == 0
    assert capsys.readouterr().err == ""


def test_what_would_fit_into_a_hole_is_dropped_with_it(server: Answering) -> None:  # [1]
    server.will(BUSY)
    outbox = SendQueue(lambda: Client(server.url), 10_000, lambda dropped: b"%d dropped" % dropped, RetryPolicy())
    outbox.put(b"x" * 9_000)
    outbox.put(b"y" * 2_000)
    outbox.put(b"small")
    assert (outbox.counts.put, outbox.counts.dropped) == (3, 2)
    server.replies.clear()
    server.will(took())
    assert outbox.flush(20.0)
    outbox.close(20.0)
    assert [asked.body for asked in server.asked[-2:]] == [b"x" * 9_000, b"2 dropped"]


def test_a_server_that_hangs_stops_nobody_and_close_keeps_its_deadline(  # [3]
    logger_to: Make, capsys: pytest.CaptureFixture[str], waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    del waiting  # the first event does not linger
    monkeypatch.setattr("parsec.client.send_queue._JOIN_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        logger, handler = logger_to(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=60.0)
        logger.info("x")
        connection, _ = silent.accept()
        assert connection.recv(1)
        started = time.monotonic()
        assert not handler.flush(0.0)
        logger.info("y")
        handler.close()
        handler.close()
        assert time.monotonic() - started < 30  # it does not wait again for what did not move
        connection.close()
    assert handler.counts.dropped == 2
    assert "they could not be sent in time: 2" in capsys.readouterr().err
    logger.info("too late")
    assert handler.counts.dropped == 3
    assert "their handler is closed" in capsys.readouterr().err


def test_a_server_that_comes_back_gets_everything(logger_to: Make, waiting: Waiting) -> None:
    """Nobody listens at first; then somebody does, on the same port."""
    port = free_port()
    logger, handler = logger_to(f"http://127.0.0.1:{port}")
    logger.info("early")
    assert not handler.flush(5.0)
    got: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while b"early" not in b"".join(got):
                got.append(connection.recv(65536))
            body = took().body
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with socket.create_server(("127.0.0.1", port)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        assert handler.flush()
        thread.join()
    assert handler.counts.sent == 1


class Talkative:
    """Logs while it is being logged."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def __str__(self) -> str:
        self._logger.info("from within")
        return "talk"


def test_logging_from_within_the_handler_neither_loops_nor_locks(  # [4]
    server: Answering, logger_to: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.will(took(2))
    logger, handler = logger_to(server.url)
    connect = socket.create_connection

    def telling(*given: Any, **more: Any) -> socket.socket:
        logger.warning("connecting")
        return connect(*given, **more)

    monkeypatch.setattr(socket, "create_connection", telling)
    logger.info("%s", Talkative(logger))
    assert handler.flush()
    assert [event["message"] for event in sent(server)] == ["from within", "talk"]
    assert handler.counts.put == 2


def test_nothing_is_raised_into_the_program(
    server: Answering, logger_to: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    server.will(took())
    logger, handler = logger_to(server.url)
    logger.info("%d", "no number")
    assert "--- Logging error ---" in capsys.readouterr().err
    assert handler.flush()
    server.replies.clear()
    server.will(Reply(200, b"<html>"))
    logger.info("x")
    assert handler.flush()
    assert handler.counts.dropped == 1


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_a_message_that_cannot_be_formatted_is_sent_as_it_is(server: Answering, logger_to: Make) -> None:
    server.will(took(4))
    logger, handler = logger_to(server.url)
    logger.info("%d of %s", "no number", 7)
    logger.info("user %s left", Mute())
    logger.info(Mute())
    handler.setFormatter(logging.Formatter("%(nothing)s"))
    logger.info("paid %s", 42)
    assert handler.flush()
    first, second, third, fourth = sent(server)
    assert (first["message"], first["metadata"]["args"]) == ("%d of %s", ["no number", 7])
    assert first["metadata"]["format_error"].startswith("TypeError: %d format")
    assert (second["message"], second["metadata"]["args"]) == ("user %s left", ["<Mute>"])
    assert (third["message"], third["metadata"]["format_error"]) == ("<Mute>", "RuntimeError: no")
    assert (fourth["message"], fourth["metadata"]["args"]) == ("paid %s", [42])


def test_many_threads_lose_nothing(server: Answering, logger_to: Make) -> None:
    server.will(*[took(500)] * 9)
    logger, handler = logger_to(server.url)

    def log(thread: int) -> None:
        for n in range(500):
            logger.info("%d-%d", thread, n)

    threads = [threading.Thread(target=log, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert handler.flush()
    assert {event["message"] for event in sent(server)} == {f"{thread}-{n}" for thread in range(8) for n in range(500)}
    assert handler.counts.put == handler.counts.finished == 4_000


def test_a_dictionary_configures_it(server: Answering) -> None:
    server.will(took())
    configured = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "parsec": {"class": "parsec.client.ParsecHandler", "url": server.url, "tenant": "acme", "level": "WARNING"}
        },
        "loggers": {"configured": {"handlers": ["parsec"], "level": "DEBUG", "propagate": False}},
    }
    logging.config.dictConfig(configured)
    logger = logging.getLogger("configured")
    logger.info("below")
    logger.warning("above")
    (handler,) = logger.handlers
    handler.close()
    logger.removeHandler(handler)
    assert [event["message"] for event in sent(server)] == ["above"]


@pytest.mark.parametrize(
    "wrong", [{"url": "ftp://x"}, {"api_key": "a\nb"}, {"url": "https://x", "ca_file": "/none"}, {"max_bytes": 1}]
)
def test_wrong_arguments_are_told_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, OSError)):
        ParsecHandler(**{"url": "http://127.0.0.1:1", **wrong})


def program(server_url: str, code: str, begun: Callable[[], None] = lambda: None) -> subprocess.CompletedProcess[str]:
    """A Python program that logs to this server through the root logger, and reads a line once `begun` returns."""
    head = f"""
        import logging, os, sys, atexit, signal, warnings
        from parsec.client import ParsecHandler
        warnings.simplefilter("ignore", DeprecationWarning)
        handler = ParsecHandler({server_url!r}, tenant="acme", timeout_s=10)
        logging.getLogger().addHandler(handler)
        logging.getLogger().setLevel("INFO")
    """
    text = textwrap.dedent(head) + textwrap.dedent(code)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", text], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        begun()
        out, err = child.communicate("go on\n", timeout=60)
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)


def messages(server: Answering) -> list[str]:
    return sorted(event["message"] for event in sent(server))


@pytest.mark.parametrize(
    "code",
    [
        "logging.info('last')",
        "atexit.register(logging.info, 'last')",
        "logging.info('last'); sys.exit(3)",
        "logging.info('last'); raise ValueError",
        "handler.emit(logging.makeLogRecord({'msg': 'last', 'levelno': 20})); handler.flush()",
    ],
)
def test_the_end_of_a_program_flushes(server: Answering, code: str) -> None:
    server.will(took())
    ended = program(server.url, code)
    assert messages(server) == ["last"], ended.stderr
    assert "parsec:" not in ended.stderr


def test_the_end_of_a_program_is_not_held_up_for_long_by_a_server_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        ended = program(url, "handler._timeout_s = 0.5; logging.info('last')")
    assert ended.stderr == "parsec: log events were dropped at the end, because they could not be sent in time: 1\n"
    assert ended.returncode == 0
    assert time.monotonic() - started < 20


def test_a_fork_sends_nothing_twice_and_loses_nothing(server: Answering) -> None:  # [5]
    server.will(*[took()] * 20)
    code = """
        logging.info("parent before")
        assert handler.flush()
        for n in range(20):
            logging.info("parent %d", n)
        child = os.fork()
        if not child:
            (parents,) = handler._queue._inherited
            assert parents._connection._http.sock.fileno() == -1
            logging.info("child")
            ok = handler.flush() and handler.counts.put == 1
            os._exit(0 if ok else 1)
        assert os.waitpid(child, 0)[1] == 0
        logging.info("parent again")
    """
    ended = program(server.url, code)
    assert ended.returncode == 0, ended.stderr
    raw = [event["message"] for asked in server.asked for event in map(json.loads, asked.body.split(b"\n"))]
    assert sorted(raw) == sorted(["child", "parent before", "parent again", *(f"parent {n}" for n in range(20))])
    assert len(sent(server)) == len(raw)


def test_a_fork_while_the_thread_waits_for_a_server_leaves_the_child_free(server: Answering) -> None:  # [5]
    server.will(took()._replace(after=2), took())
    code = """
        from parsec.client import send_queue
        send_queue.BATCH_LINGER_S = 0.0
        logging.info("parent")
        sys.stdin.readline()
        child = os.fork()
        if not child:
            logging.info("child")
            os._exit(0 if handler.flush() else 1)
        assert os.waitpid(child, 0)[1] == 0
    """
    ended = program(server.url, code, lambda: server.wait_asked(1))
    assert ended.returncode == 0, ended.stderr
    assert messages(server) == ["child", "parent"]


def test_workers_of_multiprocessing_flush_at_their_end(server: Answering) -> None:
    server.will(took())
    code = """
        import multiprocessing
        context = multiprocessing.get_context("fork")
        worker = context.Process(target=logging.info, args=("worker",))
        worker.start()
        worker.join()
        assert worker.exitcode == 0
    """
    ended = program(server.url, code)
    assert ended.returncode == 0, ended.stderr
    assert messages(server) == ["worker"]


def test_a_signal_handler_may_log_while_its_thread_does(server: Answering) -> None:  # [3]
    server.will(*[took(500)] * 100)
    code = """
        signal.signal(signal.SIGALRM, lambda *_: logging.info("signal"))
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for n in range(5000):
            logging.info("main")
        signal.setitimer(signal.ITIMER_REAL, 0)
    """
    ended = program(server.url, code)
    assert ended.returncode == 0, ended.stderr
    assert messages(server).count("main") == 5_000
    assert "signal" in messages(server)
