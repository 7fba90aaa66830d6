"""The certificate that connections get, while its files change below them."""

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from parsec.core.errors import Fatal
from parsec.web.http1.server import Tls
from tests.support.tls import certificate


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Path]]:
    return [certificate(tmp_path_factory.mktemp("pair")) for _ in range(2)]


def put(pair: tuple[Path, Path], directory: Path) -> tuple[Path, Path]:
    for source in pair:
        shutil.copy(source, directory / source.name)
    return directory / pair[0].name, directory / pair[1].name


@contextmanager
def handshake(tls: Tls) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """A client and the server's end."""
    near, far = socket.socketpair()
    outside = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    outside.check_hostname, outside.verify_mode = False, ssl.CERT_NONE
    ends: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: ends.append(tls.listening.wrap_socket(far, server_side=True)))
    thread.start()
    with outside.wrap_socket(near) as client:
        thread.join()
        with ends[0]:
            yield client, ends[0]


def shown(client: ssl.SSLSocket) -> str:
    found = client.getpeercert(binary_form=True)
    assert found is not None
    return ssl.DER_cert_to_PEM_cert(found)


def test_new_connections_get_the_new_certificate_and_old_ones_go_on(
    tmp_path: Path, pairs: list[tuple[Path, Path]]
) -> None:
    tls = Tls(*put(pairs[0], tmp_path))
    with handshake(tls) as (client, server):
        assert shown(client) == pairs[0][0].read_text()
        put(pairs[1], tmp_path)
        tls.reload_if_changed()
        with handshake(tls) as (other, _):
            assert shown(other) == pairs[1][0].read_text()
        client.sendall(b"still there")
        assert server.recv(100) == b"still there"


def test_half_a_pair_leaves_the_one_before_in_use(tmp_path: Path, pairs: list[tuple[Path, Path]]) -> None:
    made, key = put(pairs[0], tmp_path)
    tls = Tls(made, key)
    for content in (pairs[1][0].read_bytes(), b"", b"no PEM"):
        made.write_bytes(content)
        tls.reload_if_changed()
        with handshake(tls) as (client, _):
            assert shown(client) == pairs[0][0].read_text()
    made.unlink()
    tls.reload_if_changed()
    put(pairs[1], tmp_path)
    tls.reload_if_changed()
    with handshake(tls) as (client, _):
        assert shown(client) == pairs[1][0].read_text()


def test_old_protocols_are_not_spoken(tmp_path: Path, pairs: list[tuple[Path, Path]]) -> None:
    assert Tls(*pairs[0]).listening.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_pair_that_cannot_be_used_is_no_start(tmp_path: Path, pairs: list[tuple[Path, Path]]) -> None:
    (first, _), (_, second) = pairs
    with pytest.raises(Fatal, match="key values mismatch"):
        Tls(first, second)
    with pytest.raises(Fatal, match="No such file"):
        Tls(first, tmp_path / "none.pem")
    (tmp_path / "empty.pem").touch()
    with pytest.raises(Fatal, match="cannot be used"):
        Tls(tmp_path / "empty.pem", second)
