"""Keys and TLS on the real process: who gets in where, on both ways that events take, and what changes do."""

import gzip
import json
import logging
import os
import shutil
import socket
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from parsec.client import ParsecHandler
from parsec.core.clock import SystemRandom
from parsec.keys.file import Entry, change
from parsec.keys.issue import Wanted, create, revoke
from parsec.keys.key import name_of, new_key
from tests.support.addresses import About, Asked, all_addresses
from tests.support.ingesting import compact
from tests.support.load import event
from tests.support.process import SOON_S, Parsec, eventually
from tests.support.sabotaged import under
from tests.support.tls import certificate

Headers = Sequence[tuple[str, str]]


def make(path: Path, scopes: str, tenant: str | None = None, **more: Any) -> str:
    return create(path, Wanted(scopes.split(","), tenant, **more), SystemRandom(), datetime.now(UTC))


class Keys:
    """One key of each kind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acme = make(path, "ingest,query", "acme")
        self.beta = make(path, "ingest,query", "beta")
        self.ingest = make(path, "ingest", "acme")
        self.query = make(path, "query", "acme")
        self.admin = make(path, "admin")
        self.everything = make(path, "ingest,query,admin")
        self.own_admin = make(path, "ingest,query,admin", "acme")
        self.revoked = make(path, "ingest,query", "acme")
        revoke(path, self.revoked, datetime.now(UTC))
        self.expired = make(path, "ingest,query,admin", "acme", expires=datetime.now(UTC) + timedelta(days=1))
        change(path, lambda entries: [_over(each) if each.id == name_of(self.expired) else each for each in entries])


def _over(entry: Entry) -> Entry:
    return Entry(**{name: getattr(entry, name) for name in entry.__struct_fields__} | {"expires": entry.created})


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys") / "keys.toml")


@pytest.fixture(scope="module")
def parsec(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsec]:
    data_dir = tmp_path_factory.mktemp("parsec") / "data"
    settings = {"PARSEC_DISK_RESERVE": "0", "PARSEC_PROCESS_LINGER_MS": "100", "PARSEC_KEYS_FILE": str(keys.path)}
    with Parsec(data_dir, **settings) as running:
        running.key = keys.admin
        yield running
        assert running.terminate() == 0, running.logs()[-4000:]
        assert "Traceback" not in running.logs()


def answer(parsec: Parsec, asked: Asked, headers: Headers = ()) -> tuple[int, dict[str, str], bytes]:
    """Status, headers, and the body unless it never ends; a header may be given twice."""
    connection = parsec.connection()
    try:
        connection.putrequest(asked.method, asked.path)
        for name, value in headers:
            connection.putheader(name, value)
        if asked.body is not None:
            connection.putheader("Content-Length", str(len(asked.body)))
        connection.endheaders(asked.body)
        response = connection.getresponse()
        endless = response.getheader("content-type", "").startswith("text/event-stream")
        return response.status, {k.lower(): v for k, v in response.getheaders()}, b"" if endless else response.read()
    finally:
        connection.close()


def bearer(key: str) -> Headers:
    return [("Authorization", f"Bearer {key}")]


def code(body: bytes) -> str:
    found = json.loads(body)
    return str(found["errors"][0]["code"] if "errors" in found else found["code"])


@pytest.mark.parametrize("address", all_addresses(), ids=" ".join)
def test_every_address_asks_for_its_scope(parsec: Parsec, keys: Keys, address: tuple[str, str]) -> None:
    right, ask = all_addresses()[address]
    holders = {
        "ingest": {"ingest", "acme", "everything", "own_admin"},
        "query": {"query", "acme", "everything", "own_admin"},
        "admin": {"admin", "everything", "own_admin"},
    }
    status, headers, body = answer(parsec, ask(About("acme")))
    if not right:
        assert status == 200
        for bad in (keys.revoked, keys.ingest, "null"):
            assert answer(parsec, ask(About()), bearer(bad))[0] == 200
        return
    assert (status, code(body)) == (401, "missing_api_key")
    assert headers["www-authenticate"] == 'Bearer realm="parsec"'
    for bad in (keys.revoked, keys.expired, new_key(SystemRandom()), "null", ""):
        status, headers, body = answer(parsec, ask(About("acme")), bearer(bad))
        assert (status, code(body)) == (401, "invalid_api_key")
        assert "www-authenticate" in headers
    for holder in ("ingest", "query", "acme", "admin", "everything", "own_admin"):
        status, _, body = answer(parsec, ask(About("acme")), bearer(getattr(keys, holder)))
        if holder in holders[right]:
            assert status in (200, 404), (holder, body)
        else:
            assert (status, code(body)) == (403, "missing_scope"), holder


EVENT = event("e-1", "acme")
BODY = compact(EVENT)


def short(headers: Headers, parsec: Parsec, body: bytes = BODY) -> tuple[int, dict[str, str], bytes]:
    return answer(parsec, Asked("POST", "/ingest", body), headers)


def long(headers: Headers, parsec: Parsec, body: bytes = BODY) -> tuple[int, dict[str, str], bytes]:
    return answer(parsec, Asked("POST", "/ingest", gzip.compress(body)), [("Content-Encoding", "gzip"), *headers])


def question(headers: Headers, parsec: Parsec) -> tuple[int, dict[str, str], bytes]:
    return answer(parsec, Asked("GET", "/query/fields"), headers)


Way = Callable[[Headers, Parsec], tuple[int, dict[str, str], bytes]]
ways = pytest.mark.parametrize("way", [short, long, question])
ingesting = pytest.mark.parametrize("way", [short, long])


@ways
def test_a_key_is_taken_from_any_of_three_places(parsec: Parsec, keys: Keys, way: Way) -> None:
    password = b64encode(f"parsec:{keys.acme}".encode()).decode()
    for headers in (bearer(keys.acme), [("x-api-key", keys.acme)], [("Authorization", f"basic {password}")]):
        assert way(headers, parsec)[0] == 200
    assert way([*bearer(keys.acme), ("X-API-Key", keys.acme)], parsec)[0] == 200


@ways
def test_a_key_that_is_none_is_told_so(parsec: Parsec, keys: Keys, way: Way) -> None:
    none = ("", "null", "undefined", "0", "true", "[]", '{"key":1}')
    for text in (*none, keys.acme[:-1], keys.acme.upper(), keys.expired, keys.revoked, new_key(SystemRandom())):
        for headers in (bearer(text), [("X-API-Key", text)], [("Authorization", text)]):
            status, told, body = way(headers, parsec)
            assert (status, code(body)) == (401, "invalid_api_key"), headers
            assert "www-authenticate" in told
    for headers in (
        [*bearer(keys.acme), *bearer(keys.beta)],
        [("X-API-Key", keys.acme), ("X-API-Key", keys.beta)],
        [*bearer(keys.acme), ("X-API-Key", keys.beta)],
        [*bearer(keys.acme), ("X-API-Key", "")],
        [*bearer(keys.acme), *bearer("null")],
    ):
        assert way(headers, parsec)[0] == 401, headers


@ways
def test_a_key_of_a_megabyte_is_refused_and_the_next_request_served(parsec: Parsec, keys: Keys, way: Way) -> None:
    for headers in (bearer("a" * (1 << 20)), [("X-API-Key", keys.acme * 16_000)]):
        try:
            status = way(headers, parsec)[0]
        except OSError:  # cut off while it was still being sent
            status = 431
        assert status in (400, 401, 431)
    assert way(bearer(keys.acme), parsec)[0] == 200


@ingesting
def test_the_tenant_of_a_key_is_filled_in_and_another_refused_event_by_event(
    parsec: Parsec, keys: Keys, way: Any
) -> None:
    unsaid = {name: value for name, value in EVENT.items() if name != "tenant_id"}
    body = compact([EVENT, event("e-2", "beta"), unsaid, EVENT | {"tenant_id": " ACME "}, unsaid | {"tenant_id": None}])
    status, _, told = way(bearer(keys.acme), parsec, body)
    found = json.loads(told)
    assert (status, found["accepted"]) == (200, 4)
    assert [(each["index"], each["code"], each["field"]) for each in found["errors"]] == [
        (1, "tenant_mismatch", "tenant_id")
    ]
    status, _, told = way(bearer(keys.everything), parsec, compact([EVENT, event("e-2", "beta"), unsaid]))
    assert (status, [each["code"] for each in json.loads(told)["errors"]]) == (200, ["missing_field"])


@ingesting
def test_a_header_or_an_address_cannot_change_the_tenant_of_a_key(parsec: Parsec, keys: Keys, way: Any) -> None:
    unsaid = compact({name: value for name, value in EVENT.items() if name != "tenant_id"})
    status, _, told = way([*bearer(keys.acme), ("X-Tenant-ID", "beta")], parsec, unsaid)
    assert (status, code(told)) == (403, "tenant_mismatch")
    assert way([*bearer(keys.acme), ("X-Tenant-ID", "Acme")], parsec, unsaid)[0] == 200
    assert way([*bearer(keys.everything), ("X-Tenant-ID", "beta")], parsec, unsaid)[0] == 200
    status, _, told = answer(parsec, Asked("POST", "/ingest?tenant_id=beta", unsaid), bearer(keys.acme))
    assert (status, code(told)) == (400, "tenant_mismatch")


def test_a_question_is_about_the_tenant_of_its_key(parsec: Parsec, keys: Keys) -> None:
    for n, (key, tenant) in enumerate([(keys.acme, "acme"), (keys.beta, "beta")]):
        assert short(bearer(key), parsec, compact(event(f"mine-{n}", tenant)))[0] == 200
    parsec.wait_processed()

    def seen(key: str, tenant: str | None) -> tuple[int, set[str]]:
        status, _, body = answer(parsec, all_addresses()["get", "/query/events"][1](About(tenant)), bearer(key))
        return status, {each["tenant_id"] for each in json.loads(body).get("events", [])}

    assert seen(keys.acme, None) == seen(keys.acme, "acme") == seen(keys.acme, " Acme") == (200, {"acme"})
    assert seen(keys.beta, None) == (200, {"beta"})
    assert seen(keys.everything, "beta") == (200, {"beta"})
    assert seen(keys.own_admin, None) == (200, {"acme"})
    for address, (right, ask) in all_addresses().items():
        if right == "query":
            for key in (keys.acme, keys.query, keys.own_admin):
                status, _, body = answer(parsec, ask(About("beta")), bearer(key))
                assert (status, code(body)) == (403, "wrong_tenant"), address
            status, _, body = answer(parsec, ask(About()), bearer(keys.everything))
            assert (status, code(body)) == (400, "missing_parameter"), address


def test_a_profile_and_a_handler_need_nothing_but_the_key(parsec: Parsec, keys: Keys, tmp_path: Path) -> None:
    profiles = tmp_path / "parsec" / "profiles.toml"
    profiles.parent.mkdir()
    address = f"http://127.0.0.1:{parsec.port}"
    profiles.write_text("".join(
        f'[{name}]\nurl = "{address}"\napi_key = "{key}"\n'
        for name, key in {"default": keys.beta, "revoked": keys.revoked}.items()
    ))  # fmt: skip
    profiles.chmod(0o600)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARSEC_")}

    def run(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "parsec", *arguments]
        env = environment | {"XDG_CONFIG_HOME": str(tmp_path)}
        return subprocess.run(command, input=said, capture_output=True, text=True, timeout=60, check=False, env=env)

    handler = ParsecHandler(address, api_key=keys.beta, source="handler")
    handler.emit(logging.makeLogRecord({"name": "app", "levelno": 40, "msg": "handled by profile"}))
    handler.close()
    sent = run("send", "--source", "shell", said="sent by profile\n")
    assert sent.returncode == 0, sent.stderr
    parsec.wait_processed()
    found = run("query", '"by profile"', "--output", "csv", "--fields", "tenant_id,source,message", "--order", "oldest")
    assert (found.returncode, found.stderr) == (0, "")
    assert sorted(found.stdout.splitlines()[1:]) == ["beta,handler,handled by profile", "beta,shell,sent by profile"]
    refused = run("query", "--profile", "revoked")
    assert refused.returncode == 1
    assert refused.stderr.startswith("parsec: ")
    assert keys.revoked not in refused.stderr


def test_dead_letters_of_nobody_are_for_admins(parsec: Parsec, keys: Keys) -> None:
    for path in ("/deadletters?tenant=-", "/deadletters/x/0/0?tenant=-"):
        status, _, body = answer(parsec, Asked("GET", path), bearer(keys.acme))
        assert (status, code(body)) == (403, "missing_scope")
        for key in (keys.everything, keys.own_admin):
            assert answer(parsec, Asked("GET", path), bearer(key))[0] in (200, 404)


def test_health_says_little_to_whoever_shows_no_key(parsec: Parsec, keys: Keys) -> None:
    for headers in ([], bearer(keys.acme), bearer("null")):
        assert set(json.loads(answer(parsec, Asked("GET", "/health"), headers)[2])) == {"status", "timestamp"}
        assert json.loads(answer(parsec, Asked("GET", "/livez"), headers)[2]) == {"alive": True}
        assert json.loads(answer(parsec, Asked("GET", "/readyz"), headers)[2]) == {"ready": True}
    assert "checks" in json.loads(answer(parsec, Asked("GET", "/health"), bearer(keys.admin))[2])


def test_what_is_not_there_is_told_to_those_with_a_key_only(parsec: Parsec, keys: Keys) -> None:
    for path in ("/", "/query", "/query/", "/ingest/", "/stats/", "//stats", "/query/../stats", "/Stats", "/%73tats/x"):
        assert answer(parsec, Asked("GET", path))[0] == 401, path
        assert answer(parsec, Asked("GET", path), bearer(keys.acme))[0] in (307, 404), path
    assert answer(parsec, Asked("GET", "/%73tats"), bearer(keys.acme))[0] == 403


def test_keys_count_and_end_while_parsec_runs_and_none_left_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "data" / "keys.toml"
    with Parsec(tmp_path / "data", PARSEC_DISK_RESERVE="0") as parsec:
        assert parsec.ingest(EVENT)[0] == 200
        assert parsec.get("/stats")[0] == 200
        first = make(path, "ingest", "acme")
        eventually(lambda: parsec.ingest(EVENT)[0] == 401)
        parsec.key = first
        assert parsec.ingest(EVENT)[0] == 200
        path.write_text(path.read_text() + "[[")
        eventually(lambda: "is damaged" in parsec.logs())
        assert parsec.ingest(EVENT)[0] == 200
        path.write_text(path.read_text().removesuffix("[["))
        revoke(path, first, datetime.now(UTC))
        eventually(lambda: parsec.ingest(EVENT)[0] == 401)
        parsec.key = None
        assert [parsec.ingest(EVENT)[0], parsec.get("/stats")[0], parsec.get("/health")[0]] == [401, 401, 200]
        path.unlink()
        eventually(lambda: "is gone" in parsec.logs())
        assert parsec.ingest(EVENT)[0] == 401


def test_a_tail_ends_with_its_key_and_shows_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "data" / "keys.toml"
    reading, sending = make(path, "query", "acme"), make(path, "ingest", "acme")
    with Parsec(tmp_path / "data", PARSEC_DISK_RESERVE="0", PARSEC_PROCESS_LINGER_MS="20") as parsec:
        parsec.key = sending
        connection = parsec.connection()
        connection.request("GET", "/query/tail", headers=dict(bearer(reading)))
        tail = connection.getresponse()
        assert parsec.ingest(event("before", "acme"))[0] == 200
        seen = b""
        while b"before" not in seen:
            seen = tail.readline()
        revoke(path, reading, datetime.now(UTC))
        eventually(lambda: answer(parsec, Asked("GET", "/query/fields"), bearer(reading))[0] == 401)
        assert parsec.ingest(event("after", "acme"))[0] == 200
        rest = tail.read()
        assert b"after" not in rest
        assert b'event: end\ndata: {"why":"The API key was revoked or has expired."}' in rest
        connection.close()


def started(data_dir: Path, *flags: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "parsec", "serve", "--port", "0", "--data-dir", str(data_dir), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stderr


def test_a_start_that_would_let_anybody_in_is_refused(tmp_path: Path) -> None:
    exit_code, said = started(tmp_path, "--host", "0.0.0.0")  # noqa: S104
    assert (exit_code, "parsec keys create" in said, "PARSEC_AUTH=off" in said) == (2, True, True)
    assert not list(tmp_path.iterdir())
    (tmp_path / "keys.toml").write_text("[[key]]\n")
    exit_code, said = started(tmp_path)
    assert (exit_code, "keys.toml is damaged" in said) == (2, True)


def test_any_address_is_served_with_keys_or_with_auth_off(tmp_path: Path) -> None:
    make(tmp_path / "off" / "keys.toml", "admin")
    with Parsec(tmp_path / "off", PARSEC_DISK_RESERVE="0", PARSEC_HOST="0.0.0.0", PARSEC_AUTH="off") as parsec:  # noqa: S104
        assert parsec.ingest(EVENT)[0] == 200, "off is off, whatever keys there are"
    make(tmp_path / "on" / "keys.toml", "admin")
    with Parsec(tmp_path / "on", PARSEC_DISK_RESERVE="0", PARSEC_HOST="0.0.0.0") as parsec:  # noqa: S104
        assert parsec.ingest(EVENT)[0] == 401


def test_tls_takes_a_new_certificate_and_keeps_its_connections(tmp_path: Path) -> None:
    used = [tmp_path / name for name in ("certificate.pem", "key.pem")]
    pairs = []
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        pairs.append(certificate(tmp_path / name))
    for source, target in zip(pairs[0], used, strict=True):
        shutil.copy(source, target)
    parsec = Parsec(
        tmp_path / "data",
        under(HEAD_TIMEOUT_S=1),
        PARSEC_DISK_RESERVE="0",
        PARSEC_TLS_CERTIFICATE=str(used[0]),
        PARSEC_TLS_KEY=str(used[1]),
    )
    parsec.tls = ssl.create_default_context(cafile=str(pairs[0][0]))
    with parsec:
        assert parsec.ingest(EVENT)[1]["accepted"] == 1
        assert f"https://127.0.0.1:{parsec.port}" in parsec.logs()
        kept = parsec.connection()
        kept.request("GET", "/livez")
        assert kept.getresponse().read()
        for source, target in zip(pairs[1], used, strict=True):
            shutil.copy(source, target)

        def trusted(made: Path) -> bool:
            parsec.tls = ssl.create_default_context(cafile=str(made))
            try:
                return parsec.get("/livez")[0] == 200
            except ssl.SSLCertVerificationError:
                return False

        eventually(lambda: trusted(pairs[1][0]))
        assert not trusted(pairs[0][0])
        kept.request("GET", "/livez")
        assert kept.getresponse().status == 200
        with socket.create_connection(("127.0.0.1", parsec.port)) as plain:
            plain.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP/1.1 200" not in plain.recv(1000)
        parsec.tls = ssl.create_default_context(cafile=str(pairs[1][0]))
        silent = [socket.create_connection(("127.0.0.1", parsec.port), timeout=SOON_S) for _ in range(50)]
        assert parsec.get("/livez")[0] == 200
        assert [each.recv(1) for each in silent] == [b""] * len(silent), "a handshake has the time of a head"
        for each in silent:
            each.close()
        big = compact([event(f"big-{n}") for n in range(3000)])
        assert parsec.ingest(big)[1]["accepted"] == 3000
        kept.close()
        assert parsec.terminate() == 0


def test_a_body_is_not_asked_for_from_somebody_without_a_key(parsec: Parsec) -> None:
    head = b"POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", parsec.port), timeout=20) as client:
        client.sendall(head)
        told = b""
        while part := client.recv(65536):
            told += part
    assert told.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in told
