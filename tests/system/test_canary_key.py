"""Keys and passwords that are looked for in all that Parsec writes: answers, log lines, files, what commands print."""

import os
import re
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from parsec.core.clock import SystemRandom
from parsec.keys.issue import Wanted, create, revoke
from parsec.keys.key import new_key
from tests.support.addresses import About, Asked, all_addresses
from tests.support.process import Parsec

PASSWORDS = {
    name: f"canary-{name.lower()}-7f3a"
    for name in ("CLICKHOUSE_PASSWORD", "REDIS_PASSWORD", "PARSEC_KAFKA_PASSWORD", "PARSEC_KAFKA_OPTIONS")
}
PASSWORDS["PARSEC_KAFKA_OPTIONS"] = "security.protocol=sasl_ssl,ssl.key.password=canary-option-7f3a"


def spellings(key: str) -> set[bytes]:
    """Pieces of which none may be found; the public name of a key may."""
    return {key[16:].encode(), b64encode(f"parsec:{key}".encode())}


def ways_to_say(key: str) -> Iterator[dict[str, str]]:
    """Right ones, and those that people try."""
    basic = b64encode(f"parsec:{key}".encode()).decode()
    yield {"Authorization": f"Bearer {key}"}
    yield {"X-API-Key": key}
    yield {"Authorization": f"Basic {basic}"}
    yield {"Authorization": key}
    yield {"Authorization": f"Bearer {key}", "X-API-Key": key[:-1]}
    yield {"Cookie": f"key={key}", "Api-Key": key}


def answered(parsec: Parsec, asked: Asked, headers: dict[str, str]) -> bytes:
    connection = parsec.connection()
    try:
        connection.request(asked.method, asked.path, asked.body, headers)
        response = connection.getresponse()
        endless = response.getheader("content-type", "").startswith("text/event-stream")
        return f"{response.status} {response.getheaders()}".encode() + (b"" if endless else response.read())
    finally:
        connection.close()


def broken(parsec: Parsec, key: str) -> bytes:
    """An answer to what is no HTTP."""
    with socket.create_connection(("127.0.0.1", parsec.port), timeout=10) as plain:
        plain.sendall(f"GET /stats HTTP/1.1\r\nAuthorization: Bearer {key}\r\nX-API-Key {key}\r\n\r\n".encode())
        return plain.recv(65536)


def printed(data_dir: Path, *arguments: str) -> bytes:
    environment = {**os.environ, **PASSWORDS, "PARSEC_DATA_DIR": str(data_dir)}
    command = [sys.executable, "-m", "parsec", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=30)
    return done.stdout + done.stderr


def test_no_secret_is_found_in_anything_that_parsec_wrote(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    file, now = data_dir / "keys.toml", datetime.now(UTC)
    scopes = ("ingest", "query", "admin")
    own = create(file, Wanted(scopes, "acme"), SystemRandom(), now)
    for_all = create(file, Wanted(scopes), SystemRandom(), now)
    revoked = create(file, Wanted(scopes, "acme"), SystemRandom(), now)
    revoke(file, revoked, now)
    unknown = new_key(SystemRandom())
    keys = [own, for_all, revoked, unknown, f"{unknown[:-1]}!"]
    said: dict[str, bytes] = {}
    with Parsec(data_dir, PARSEC_DISK_RESERVE="0", PARSEC_LOG_LEVEL="debug", **PASSWORDS) as parsec:
        for n, key in enumerate(keys):
            for headers in ways_to_say(key):
                for address, (_, ask) in all_addresses().items():
                    said[f"key {n} as {list(headers)} {address}"] = answered(parsec, ask(About("acme")), headers)
            for path in (f"/query/events?tenant=acme&api_key={key}", f"/ingest?api_key={key}", f"/ingest?ack={key}"):
                said[f"key {n} in {path.partition(key)[0]}"] = answered(parsec, Asked("POST", path, b"{}"), {})
            said[f"key {n}, no HTTP"] = broken(parsec, key)
        assert parsec.terminate() == 0
    assert b"200 " in said[f"key 0 as ['X-API-Key'] {('get', '/stats')}"][:4]
    said["check-config"] = printed(data_dir, "check-config")
    said["keys list"] = printed(data_dir, "keys", "list")
    said["wrong settings"] = printed(data_dir, "check-config", "--kafka-options", "canary-option-7f3a")
    assert b"(hidden)" in said["check-config"]
    assert b"PARSEC_KAFKA_OPTIONS" in said["wrong settings"]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    said |= {str(path.relative_to(tmp_path)): path.read_bytes() for path in files}
    secrets = set().union(*map(spellings, keys)) | {b"canary-"}
    seal = re.findall(rb'secret = "([0-9a-f]{64})"', said.pop("data/keys.toml"))
    secrets |= set(seal)
    assert seal
    found = [(where, secret) for where, text in said.items() for secret in secrets if secret in text]
    assert found == []
