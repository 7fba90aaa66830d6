"""How many connections are let in, of one address and of all; how often one may ask; what few open files mean."""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.support.process import Parsec

HEALTH = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
MOST = 20


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsec]:
    data_dir: Path = tmp_path_factory.mktemp("full") / "data"
    with Parsec(data_dir, PARSEC_DISK_RESERVE="0", PARSEC_MAX_CONNECTIONS=str(MOST)) as running:
        yield running


@pytest.fixture(scope="module")
def fair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsec]:
    data_dir: Path = tmp_path_factory.mktemp("fair") / "data"
    limits = {"PARSEC_MAX_CONNECTIONS_PER_ADDRESS": "5", "PARSEC_MAX_REQUESTS_PER_ADDRESS": "50"}
    with Parsec(data_dir, PARSEC_DISK_RESERVE="0", **limits) as running:
        yield running


def connect(parsec: Parsec, source: str = "127.0.0.1") -> "closing[socket.socket]":
    return closing(socket.create_connection(("127.0.0.1", parsec.port), timeout=20, source_address=(source, 0)))


def asked(client: socket.socket, request: bytes = HEALTH) -> bytes:
    client.sendall(request)
    answer = b""
    while not answer.endswith(b"}"):
        answer += (part := client.recv(65536))
        assert part, answer
    return answer


def test_who_waits_longest_gives_way_to_who_comes(full: Parsec) -> None:
    with ExitStack() as stack:
        idle = [stack.enter_context(connect(full)) for _ in range(MOST - 1)]
        asking = stack.enter_context(connect(full))
        time.sleep(1.2)
        assert b" 200 " in asked(asking)
        for _ in range(3):
            assert b" 200 " in asked(stack.enter_context(connect(full)))
        assert b" 200 " in asked(asking)
        gone = select.select(idle, [], [], 1.0)[0]  # well before they would be closed for being idle
        assert gone
        assert gone[0].recv(1) == b""
    assert b'parsec_http_refused_total{reason="gave_way"}' in full.get("/metrics")[1]


def test_nobody_gives_way_to_a_flood_and_the_flood_is_told(full: Parsec) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(connect(full)) for _ in range(MOST)]
        for client in streams:
            assert b" 200 " in asked(client)  # just now, so none has waited for long
        refused = [stack.enter_context(connect(full)) for _ in range(200)]
        answers = [asked(client) for client in refused[:30]]
        assert all(b" 503 " in answer and b'"too_many_connections"' in answer for answer in answers)
        assert all(b"retry-after: 1\r\n" in answer for answer in answers)
        for client in streams:
            assert b" 200 " in asked(client)
        for client in refused:  # who waits in the listener's queue until others have left would be let in
            assert select.select([client], [], [], 20)[0]
    refusals, end = len(refused), time.monotonic() + 20
    while full.request("GET", "/livez")[0] != 200 and time.monotonic() < end:
        refusals += 1  # it had not yet seen the others leave
        time.sleep(0.1)
    assert b'parsec_http_refused_total{reason="too_many_connections"} %d.0' % refusals in full.get("/metrics")[1]


def test_connections_of_one_address_are_bounded_and_others_are_not_asked_to_pay(fair: Parsec) -> None:
    with ExitStack() as stack:
        mine = [stack.enter_context(connect(fair, "127.0.0.2")) for _ in range(5)]
        answer = asked(stack.enter_context(connect(fair, "127.0.0.2")))
        assert b" 429 " in answer
        assert b'"too_many_connections_of_address"' in answer
        assert b" 200 " in asked(stack.enter_context(connect(fair, "127.0.0.3")))
        mine[0].close()
        time.sleep(0.1)
        assert b" 200 " in asked(stack.enter_context(connect(fair, "127.0.0.2")))


def test_requests_of_one_address_are_bounded(fair: Parsec) -> None:
    def statuses(source: str, times: int) -> list[bytes]:
        found = []
        for _ in range(times):
            with connect(fair, source) as client:
                found.append(asked(client)[9:12])
        return found

    answers = statuses("127.0.0.4", 150)
    assert answers[:50] == [b"200"] * 50
    assert set(answers) == {b"200", b"429"}
    assert statuses("127.0.0.5", 1) == [b"200"]
    assert b'parsec_http_refused_total{reason="too_many_requests_of_address"}' in fair.get("/metrics")[1]


def test_few_open_files_are_few_connections(tmp_path: Path) -> None:
    few = ("sh", "-c", 'ulimit -n 700; exec "$@"', "sh")
    with Parsec(tmp_path / "data", under=few, PARSEC_DISK_RESERVE="0") as parsec, ExitStack() as stack:
        assert "fewer connections than PARSEC_MAX_CONNECTIONS" in parsec.logs()
        for _ in range(600):
            stack.enter_context(connect(parsec))
        time.sleep(1.2)
        assert b" 200 " in asked(stack.enter_context(connect(parsec)))
        assert "Too many open files" not in parsec.logs()
