"""`parsec send` to a real server: files as other programs write them are found by what they say."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Parsec
from tests.unit.api.test_formats import BUNYAN, CLOUDTRAIL, DOCKER, GELF, JOURNALD, KUBERNETES, OTLP, PINO


@pytest.fixture(scope="module")
def parsec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsec]:
    with Parsec(tmp_path_factory.mktemp("send") / "data", PARSEC_DISK_RESERVE="0") as running:
        yield running


def send(parsec: Parsec, *arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "parsec", "send", "--url", f"http://127.0.0.1:{parsec.port}", *arguments]
    ended = subprocess.run(command, input=stdin, capture_output=True, timeout=60)
    return subprocess.CompletedProcess(command, ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


FILES = {
    "docker": lines(DOCKER, DOCKER | {"log": "second\n"}),
    "journald": lines(JOURNALD, JOURNALD | {"__CURSOR": "s=2", "MESSAGE": [104, 105]}),
    "pino": lines(PINO, PINO | {"msg": "second"}),
    "bunyan": lines(BUNYAN),
    "cloudtrail": gzip.compress(
        json.dumps({"Records": [CLOUDTRAIL | {"eventID": f"id-{n}", "n": n} for n in range(700)]}).encode()
    ),
    "k8saudit": lines(KUBERNETES, KUBERNETES | {"stage": "RequestReceived"}),
    "gelf": lines(GELF),
    "otlp": lines(OTLP, OTLP),
}
FOUND = {"docker": 2, "journald": 2, "pino": 2, "bunyan": 1, "cloudtrail": 700, "k8saudit": 2, "gelf": 1, "otlp": 4}


def test_each_format_is_sent_whole_and_found(parsec: Parsec, tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
        ended = send(parsec, "--tenant", name, str(tmp_path / name))
        assert (ended.returncode, ended.stderr) == (0, ""), ended
    parsec.wait_processed()
    for name, count in FOUND.items():
        assert len(parsec.search(name)) == count, name
    found = search(parsec, "cloudtrail", "metadata.n:699 metadata.userIdentity.userName:Alice")
    assert [event["id"] for event in found] == ["id-699"]
    (event,) = search(parsec, "docker", "severity:error")
    assert (event["message"], event["source"]) == ("ERROR: declined", "docker")
    assert [event["message"] for event in search(parsec, "journald", "hi")] == ["hi"]
    assert search(parsec, "otlp", "source:checkout metadata.attributes.user.id:7")
    assert [event["severity"] for event in search(parsec, "pino", "second")] == ["warn"]


def search(parsec: Parsec, tenant: str, q: str) -> list[dict[str, Any]]:
    return parsec.search(tenant, q=q)


def test_a_file_sent_again_is_stored_once_where_its_events_have_ids(parsec: Parsec, tmp_path: Path) -> None:
    (tmp_path / "again").write_bytes(FILES["journald"])
    for _ in range(2):
        assert send(parsec, "--tenant", "again", str(tmp_path / "again")).returncode == 0
    parsec.wait_processed()
    assert len(parsec.search("again")) == 2


def test_text_keeps_its_times_levels_and_lines(parsec: Parsec) -> None:
    text = b"2026-07-29 12:00:00,123 ERROR declined\n\tat Pay.java:7\n2026-07-29 12:00:01,000 INFO paid\n"
    ended = send(parsec, "--tenant", "text", "--zone", "utc", stdin=b"\xff\xfe" + text.decode().encode("utf-16-le"))
    assert (ended.returncode, ended.stderr) == (0, "")
    parsec.wait_processed()
    errors = search(parsec, "text", "severity:error")
    assert {event["timestamp"] for event in errors} == {"2026-07-29T12:00:00.123Z"}
    assert {event["message"] for event in errors} == {"2026-07-29 12:00:00,123 ERROR declined", "\tat Pay.java:7"}


def test_a_bad_line_is_named_and_harms_no_other(parsec: Parsec) -> None:
    bad = DOCKER | {"time": "yesterday"}
    ended = send(parsec, "--tenant", "bad", stdin=lines(DOCKER, bad) + b'{"log":"cut\n' + lines(DOCKER))
    assert ended.returncode == 1
    first, second = ended.stderr.splitlines()
    assert first.startswith("line 2: invalid_timestamp (timestamp): ")
    assert second.startswith("line 3: invalid_json: ")
    parsec.wait_processed()
    assert len(parsec.search("bad")) == 2
