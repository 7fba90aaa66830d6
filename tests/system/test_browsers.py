"""What pages of other sites can do in a browser, and the headers that keep answers data."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.load import event
from tests.support.process import Parsec

FRIEND, STRANGER = "https://ui.example.com", "https://evil.example.com"


@pytest.fixture(scope="module")
def friendly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsec]:
    data_dir: Path = tmp_path_factory.mktemp("browsers") / "data"
    with Parsec(data_dir, PARSEC_DISK_RESERVE="0", PARSEC_CORS_ORIGINS=f"{FRIEND}, http://localhost:3000") as running:
        yield running


def body() -> bytes:
    return json.dumps(event("browsed", "browsers")).encode()


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("GET", "/livez", {}),
        ("GET", "/query/events?tenant=browsers", {}),
        ("GET", "/nothing", {}),
        ("POST", "/ingest", {}),
        ("POST", "/ingest", {"Expect": "the impossible"}),
        ("POST", "/ingest", {"Transfer-Encoding": "chunked"}),
        ("PUT", "/ingest", {}),
    ],
)
def test_answers_are_data_and_nothing_else(parsec: Parsec, method: str, path: str, sent: dict[str, str]) -> None:
    chunked = "Transfer-Encoding" in sent
    answer = parsec.request(method, path, b"1\r\n[\r\n1\r\n]\r\n0\r\n\r\n" if chunked else body(), sent)
    assert answer[1]["x-content-type-options"] == "nosniff"
    assert answer[1]["cache-control"] == "no-store"
    assert not [name for name in answer[1] if name.startswith("access-control")]


def test_a_page_of_another_site_cannot_write_or_read(parsec: Parsec) -> None:
    for origin in (STRANGER, "null", "http://127.0.0.1:1"):
        status, headers, answer = parsec.request("POST", "/ingest", body(), {"Origin": origin})
        assert (status, json.loads(answer)["code"]) == (403, "cross_origin")
        status, headers, _ = parsec.request("GET", "/livez", headers={"Origin": origin})
        assert (status, "access-control-allow-origin" in headers) == (200, False)
    assert b'parsec_http_refused_total{reason="cross_origin"} 3.0' in parsec.get("/metrics")[1]
    with closing(parsec.connection()) as twice:
        twice.putrequest("POST", "/ingest")
        for origin in (STRANGER, f"http://127.0.0.1:{parsec.port}"):
            twice.putheader("Origin", origin)
        twice.putheader("Content-Length", "0")
        twice.endheaders()
        assert twice.getresponse().status == 403
    asked = {"Origin": STRANGER, "Access-Control-Request-Method": "POST"}
    assert parsec.request("OPTIONS", "/ingest", headers=asked)[0] == 405


def test_a_page_of_its_own_can_write(parsec: Parsec) -> None:
    status, headers, _ = parsec.request("POST", "/ingest", body(), {"Origin": f"https://127.0.0.1:{parsec.port}"})
    assert (status, "access-control-allow-origin" in headers) == (200, False)


@pytest.mark.parametrize("path", ["/ingest", "/ingest?ack=enqueued"])
def test_a_page_that_is_named_may_use_everything(friendly: Parsec, path: str) -> None:
    asked = {
        "Origin": FRIEND,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,content-encoding,x-api-key,x-tenant-id",
    }
    status, headers, _ = friendly.request("OPTIONS", path, headers=asked)
    assert (status, headers["access-control-allow-origin"]) == (200, FRIEND)
    for method, target, sent in (("POST", path, body()), ("GET", "/livez", None), ("GET", "/nothing", None)):
        status, headers, _ = friendly.request(method, target, sent, {"Origin": FRIEND})
        assert status in (200, 404)
        assert headers["access-control-allow-origin"] == FRIEND
        shown = set(headers["access-control-expose-headers"].split(", "))
        assert {"Retry-After", "RateLimit-Policy", "Parsec-Missing", "Parsec-Cursor"} <= shown
        assert "Origin" in headers["vary"]
        assert "access-control-allow-credentials" not in headers


def test_others_may_not_even_then(friendly: Parsec) -> None:
    asked = {"Origin": STRANGER, "Access-Control-Request-Method": "POST"}
    _, headers, _ = friendly.request("OPTIONS", "/ingest", headers=asked)
    assert "access-control-allow-origin" not in headers
    status, headers, _ = friendly.request("POST", "/ingest", body(), {"Origin": STRANGER})
    assert (status, "access-control-allow-origin" in headers) == (403, False)
