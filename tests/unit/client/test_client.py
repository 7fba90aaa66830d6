"""The client against a server that answers as told: what is tried again, with which bytes, and when it stops."""

import http.client
from pathlib import Path

import pytest

from parsec.client import Client, IngestError
from parsec.core.errors import Rejected, Retryable
from tests.support.answering import Answering, Reply, accepted, page, problem, refused
from tests.support.process import free_port
from tests.support.tls import certificate, tls_in_front_of
from tests.support.waiting import Waiting

ALL_WELL = Reply(200, b'{"success":true,"ack":"durable","accepted":2,"rejected":0,"errors":[],"new_field":1}')
FULL = refused(429, "queue_full", "The queue is full.", retry_after="7")


def test_an_answer_comes_back_as_it_is(server: Answering) -> None:
    server.will(ALL_WELL)
    with Client(server.url, api_key="k-1") as client:
        answer = client.send(b"[{},{}]", defaults={"tenant_id": "acme corp"})
    assert (answer.success, answer.ack, answer.accepted, answer.rejected) == (True, "durable", 2, 0)
    assert server.asked[0].path == "/ingest?tenant_id=acme+corp"
    assert server.asked[0].headers["authorization"] == "Bearer k-1"


def test_a_rejected_request_is_an_answer_not_an_error(server: Answering) -> None:
    verdict = IngestError(0, None, "invalid_timestamp", "timestamp", "no")
    server.will(accepted(0, verdict))
    with Client(server.url) as client:
        answer = client.send(b"{}")
    assert answer.errors[0].code == "invalid_timestamp"
    assert answer.errors[0].index == 0


def test_busy_servers_get_the_very_same_bytes_after_retry_after(server: Answering) -> None:
    server.will(FULL, Reply(503, b"<html>", {"Retry-After": "2"}), Reply(502, b""), ALL_WELL)
    waiting = Waiting()
    with Client(server.url, retry=waiting.retry) as client:
        assert client.send(b"the body").accepted == 2
    assert [asked.body for asked in server.asked] == [b"the body"] * 4
    assert waiting.waits == [7.0, 2.0, 0.4]
    assert waiting.reasons[0] == "The queue is full. (queue_full)"


def test_it_gives_up_in_time_and_says_why(server: Answering) -> None:
    server.will(FULL)
    waiting = Waiting()
    with Client(server.url, retry=waiting.retry) as client, pytest.raises(Retryable, match="queue is full"):
        client.send(b"{}", give_up_after_s=20.0)
    assert waiting.waits == [7.0, 7.0]


def test_a_server_that_is_away_is_tried_again() -> None:
    waiting = Waiting()
    with (
        Client(f"http://127.0.0.1:{free_port()}", retry=waiting.retry) as client,
        pytest.raises(Retryable, match=r"gave up after 1 s: .*refused"),
    ):
        client.send(b"{}", give_up_after_s=1.0)
    assert waiting.waits == [0.1, 0.2, 0.4]


def test_an_answer_that_breaks_off_is_asked_for_again(server: Answering) -> None:
    server.will(Reply(0), ALL_WELL)
    waiting = Waiting()
    with Client(server.url, retry=waiting.retry) as client:
        assert client.send(b"x").accepted == 2
    assert [asked.body for asked in server.asked] == [b"x", b"x"]
    assert waiting.waits == [0.1]


def test_a_kept_connection_that_was_closed_meanwhile_costs_no_wait(server: Answering) -> None:
    server.will(ALL_WELL, Reply(0), ALL_WELL)
    waiting = Waiting()
    with Client(server.url, retry=waiting.retry) as client:
        client.send(b"1")
        client.send(b"2")
    assert [asked.body for asked in server.asked] == [b"1", b"2", b"2"]
    assert waiting.waits == []


def test_an_answer_is_closed_once_it_is_read(server: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its finalizer would close it else, and swallow the KeyboardInterrupt of a Ctrl-C that comes just then."""
    answers = []

    class Kept(http.client.HTTPResponse):
        def begin(self) -> None:
            answers.append(self)
            super().begin()

    monkeypatch.setattr(http.client.HTTPConnection, "response_class", Kept)
    server.will(_page(1, None))
    with Client(server.url) as client:
        list(client.pages("acme", limit=1))
        assert [answer.closed for answer in answers] == [True]


def test_a_refusal_before_the_body_was_read_is_heard(server: Answering) -> None:
    server.will(refused(413, "payload_too_large", "Send less.")._replace(unread=True))
    with Client(server.url) as client, pytest.raises(Rejected) as caught:
        client.send(bytes(32 << 20))  # more than the sockets between take in
    assert (caught.value.code, caught.value.status, caught.value.message) == ("payload_too_large", 413, "Send less.")


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (problem(401, "unauthorized"), "unauthorized"),
        (Reply(404, b"not json"), "http_404"),
        (Reply(200, b"<html>a proxy's page</html>"), "http_200"),
        (refused(400, "no_events"), "no_events"),
    ],
)
def test_what_concerns_the_whole_request_is_raised_and_not_tried_again(
    server: Answering, reply: Reply, code: str
) -> None:
    server.will(reply)
    with Client(server.url) as client, pytest.raises(Rejected) as caught:
        client.send(b"{}")
    assert caught.value.code == code
    assert len(server.asked) == 1


def _page(events: int, cursor: str | None) -> Reply:
    return page(*({"id": str(n), "big": 10**30} for n in range(events)), cursor=cursor)


def test_pages_follow_the_cursor_up_to_the_limit(server: Answering) -> None:
    server.will(_page(1000, "c1"), _page(1000, "c2"), _page(500, "c3"))
    with Client(server.url) as client:
        pages = list(client.pages("acme", start="-2h", end="now", limit=2500))
    assert [len(page.events) for page in pages] == [1000, 1000, 500]
    assert [asked.path for asked in server.asked] == [
        "/query/events?tenant=acme&from=-2h&to=now&limit=1000",
        "/query/events?tenant=acme&from=-2h&to=now&limit=1000&cursor=c1",
        "/query/events?tenant=acme&from=-2h&to=now&limit=500&cursor=c2",
    ]
    assert b"1000000000000000000000000000000" in bytes(pages[0].events[0])


def test_pages_end_where_the_cursor_ends(server: Answering) -> None:
    server.will(_page(3, None))
    with Client(server.url) as client:
        assert [len(page.events) for page in client.pages("acme", limit=10)] == [3]
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(503, b"{}"), Retryable),
        (problem(400, "missing_tenant"), Rejected),
        (Reply(200, b"1"), Rejected),
    ],
)
def test_a_question_that_cannot_be_answered_raises(server: Answering, reply: Reply, kind: type[Exception]) -> None:
    server.will(reply)
    with Client(server.url) as client, pytest.raises(kind):
        client.query("acme")
    assert len(server.asked) == 1


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://h:port", "http://[x", "http://h/?q=1", ""])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="is not a URL; write one such as"):
        Client(url)


def test_an_address_may_have_a_path_and_lack_a_scheme(server: Answering) -> None:
    server.will(ALL_WELL)
    with Client(server.url.removeprefix("http://") + "/logs/") as client:
        client.send(b"{}")
    assert server.asked[0].path == "/logs/ingest"


def test_address_and_key_come_from_the_environment(server: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    server.will(ALL_WELL)
    monkeypatch.setenv("PARSEC_URL", server.url)
    monkeypatch.setenv("PARSEC_API_KEY", "k-env")
    for key, sent in ((None, "Bearer k-env"), ("k-own", "Bearer k-own"), ("", None)):
        with Client(api_key=key) as client:
            client.send(b"{}")
        assert server.asked[-1].headers.get("authorization") == sent


@pytest.mark.parametrize("key", ["a\nb", "a\u20acb"])
def test_a_key_that_no_header_can_hold_is_refused_at_once(key: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        Client("http://127.0.0.1:1", api_key=key)


def test_certificates_to_trust_are_read_from_a_file(server: Answering, tmp_path: Path) -> None:
    server.will(ALL_WELL)
    made, key = certificate(tmp_path)
    port = int(server.url.rpartition(":")[2])
    with tls_in_front_of(port, made, key) as tls:
        with Client(f"https://127.0.0.1:{tls}", ca_file=str(made)) as client:
            assert client.send(b"{}").accepted == 2
        with Client(f"https://127.0.0.1:{tls}") as client, pytest.raises(Retryable, match="PARSEC_CA_FILE"):
            client.send(b"{}", give_up_after_s=0)
        with Client(f"https://127.0.0.1:{port}") as client, pytest.raises(Retryable, match="does not speak TLS"):
            client.send(b"{}", give_up_after_s=0)
    with pytest.raises(OSError, match="No such file"):
        Client("https://127.0.0.1:1", ca_file=str(tmp_path / "none"))


def test_a_page_is_asked_for_again_when_that_was_said(server: Answering) -> None:
    server.will(_page(1000, "c1"), Reply(503, b"{}", {"Retry-After": "3"}), _page(1, None))
    waiting = Waiting()
    with Client(server.url, retry=waiting.retry) as client:
        pages = client.pages("acme", limit=None, cursor="c0", order="oldest", give_up_after_s=60.0)
        assert [len(page.events) for page in pages] == [1000, 1]
    assert waiting.waits == [3.0]
    assert "cursor=c0" in server.asked[0].path
    assert server.asked[1].path == server.asked[2].path


def test_another_format_than_json_is_no_answer_for_a_client() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(ValueError, match="leave `format` out"):
        client.query("acme", format="csv")


def test_every_question_goes_where_it_belongs(server: Answering) -> None:
    found = b'"complete_until":"t","missing":[],"from":"t","to":"t"'
    server.will(
        Reply(200, b'{"groups":[{"by":{"source":null},"values":{"count":3,"p95(metadata.ms)":1.5}}],%s}' % found),
        Reply(200, b'{"event":{"id":"a/b"},%s}' % found),
        Reply(200, b'{"before":[],"event":{"id":"a/b"},"after":[{}],%s}' % found),
    )
    with Client(server.url) as client:
        groups = client.aggregate("t", metrics=["count", "p95(metadata.ms)"], by=["source"], top=5, q="x")
        assert groups.groups[0].values == {"count": 3, "p95(metadata.ms)": 1.5}
        assert bytes(client.event("a/b", "t").event) == b'{"id":"a/b"}'
        assert len(client.context("a/b", "t", before=0, after=1).after) == 1
    assert [asked.path for asked in server.asked] == [
        "/query/aggregate?tenant=t&q=x&metric=count&metric=p95%28metadata.ms%29&by=source&top=5",
        "/query/events/a%2Fb?tenant=t",
        "/query/events/a%2Fb/context?tenant=t&before=0&after=1",
    ]
