"""A page that points a name of its own at this machine (DNS rebinding) gets nothing while there are no keys."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from parsec.core.clock import SystemRandom
from parsec.keys.issue import Wanted, create
from tests.support.addresses import About, Asked, all_addresses
from tests.support.load import event
from tests.support.process import Parsec, eventually
from tests.system.test_hostile_requests import code, exchange, refused, statuses

EVIL = "rebound.evil.example:8080"


@pytest.fixture(scope="module")
def parsec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsec]:
    data_dir: Path = tmp_path_factory.mktemp("hosts") / "data"
    with Parsec(data_dir, PARSEC_DISK_RESERVE="0", PARSEC_ALLOWED_HOSTS="logs.example.com") as running:
        yield running


def head(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((line, *headers, b"Connection: close", b"", b""))


def test_another_host_gets_421_on_every_method_and_path(parsec: Parsec) -> None:
    before = refused(parsec, "host_not_allowed")
    asked = [ask(About("hosts")) for _, ask in all_addresses().values()]
    others = ("HEAD", "PUT", "DELETE", "OPTIONS")
    asked += [Asked(method, path) for method in others for path in ("/ingest", "/livez")]
    asked += [Asked("GET", "/"), Asked("GET", "/nothing"), Asked("POST", "/ingest", b"x" * 100_000)]
    for method, path, body in asked:
        status, headers, answer = parsec.request(method, path, body, {"Host": EVIL})
        assert (status, headers["connection"]) == (421, "close"), (method, path)
        if method != "HEAD":
            told = json.loads(answer)
            assert told["code"] == "host_not_allowed"
            assert "PARSEC_ALLOWED_HOSTS" in told["detail"]
    assert refused(parsec, "host_not_allowed") - before == len(asked)
    assert parsec.stats()["producer"]["messages_sent"] == 0


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (head(b"GET /livez HTTP/1.1", b"Host: LOCALHOST."), 200),
        (head(b"GET /livez HTTP/1.1", b"Host: [::1]:9"), 200),
        (head(b"GET /livez HTTP/1.1", b"Host: logs.example.com"), 200),
        (head(b"GET http://localhost/livez HTTP/1.1", b"Host: localhost"), 200),
        (head(b"GET /livez HTTP/1.0"), 200),
        (head(b"GET /livez HTTP/1.0", b"Host: evil.example"), 421),
        (head(b"GET http://evil.example/livez HTTP/1.0"), 421),
        (head(b"GET /livez HTTP/1.1", b"Host:"), 421),
        (head(b"GET /livez HTTP/1.1", b"Host: user@localhost"), 421),
        (head(b"GET http://evil.example/livez HTTP/1.1", b"Host: localhost"), 421),
        (head(b"GET http://localhost/livez HTTP/1.1", b"Host: evil.example"), 421),
        (head(b"POST /ingest HTTP/1.1", b"Host: evil.example", b"Expect: 100-continue", b"Content-Length: 9"), 421),
        (head(b"POST /ingest HTTP/1.1", b"Host: evil.example", b"Transfer-Encoding: chunked"), 421),
        (head(b"GET /livez HTTP/1.1", b"Host: evil.example", b"Authorization: Bearer parsec_x"), 421),
        (head(b"GET /livez HTTP/1.1", b"Host: localhost", b"Host: localhost"), 400),
    ],
)
def test_forms_of_a_host(parsec: Parsec, request_bytes: bytes, status: int) -> None:
    answers = exchange(parsec, request_bytes)
    assert statuses(answers) == [status]


def test_the_fast_path_looks_at_each_request_of_a_connection(parsec: Parsec) -> None:
    body = json.dumps(event("hosts-1", "hosts")).encode()

    def post(host: bytes) -> bytes:
        return b"POST /ingest HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n%b" % (host, len(body), body)

    answers = exchange(parsec, post(b"localhost"), post(b"localhost"), post(b"evil.example"), post(b"localhost"))
    assert statuses(answers) == [200, 200, 421]
    assert code(answers[answers.rindex(b"HTTP/1.1") :]) == "host_not_allowed"


def test_with_a_key_any_host_is_served(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", PARSEC_DISK_RESERVE="0") as parsec:
        assert parsec.request("GET", "/livez", headers={"Host": EVIL})[0] == 421
        key = create(tmp_path / "data" / "keys.toml", Wanted(["admin"]), SystemRandom(), datetime.now(UTC))
        asked = {"Host": EVIL, "X-API-Key": key}
        eventually(lambda: parsec.request("GET", "/stats", headers=asked)[0] == 200)
        assert parsec.request("GET", "/stats", headers={"Host": EVIL})[0] == 401
