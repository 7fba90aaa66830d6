"""Which values of `Host` are served without API keys."""

import pytest

from parsec.web.http1.allowed_hosts import MAX_REMEMBERED, AllowedHosts

SERVED = (
    "localhost", "LocalHost", "localhost.", "localhost:8080", "localhost:", "localhost:65535", "127.0.0.1",
    "127.0.0.1:1", "127.255.0.9:8080", "[::1]", "[::1]:8080", "::1", "[::ffff:127.0.0.1]:80", "[0:0:0:0:0:0:0:1]",
    "logs.example.com", "LOGS.example.com.:443", "a.b.example.net:1", "x_1.example.net",
)  # fmt: skip
FOREIGN = (
    "", " ", ":8080", "evil.example", "localhost.evil.example", "evil.localhost", "127.0.0.1.evil.example",
    "evil.example:127", "notlocalhost", "example.net", "evilexample.net", "0.0.0.0:8080", "192.168.0.1",
    "[::]", "[::2]:80", "[::1", "::1]", "[::1]x", "[localhost]", "[127.0.0.1]", "::1:8080", "localhost:x",
    "localhost:80:80", "localhost:99999", "localhost:-1", "user@localhost", "localhost@evil.example",
    "localhost/evil.example", "localhost,evil.example", "localhost evil.example", "127.1", "2130706433", "0x7f.0.0.1",
    "127.0.0.1..", ".localhost", "localhost\t.evil", "\uff4cocalhost", "\u24dbocalhost:80", "127\u30020\u30020\u30021",
)  # fmt: skip


def hosts(*names: str, keyless: bool = True, checks_keys: bool = False) -> AllowedHosts:
    return AllowedHosts(names, lambda: keyless, lambda: checks_keys)


def allowed(host: str, target: str = "/livez", *, by: AllowedHosts | None = None) -> bool:
    by = by or hosts("Logs.Example.com", "*.example.net")
    return by.allow(host.encode(), target.encode(), [(b"host", host.encode())])


@pytest.mark.parametrize("host", SERVED)
def test_names_of_this_machine_and_configured_ones_are_served(host: str) -> None:
    assert allowed(host)


@pytest.mark.parametrize("host", FOREIGN)
def test_any_other_is_not(host: str) -> None:
    assert not allowed(host)
    assert not allowed(host, by=hosts())


def test_a_star_is_any_name_but_no_nonsense() -> None:
    by = hosts("*")
    assert allowed("evil.example:8080", by=by)
    assert not allowed("", by=by)
    assert not allowed("user@evil.example", by=by)


@pytest.mark.parametrize(
    ("target", "served"),
    [
        ("http://localhost:8080/livez", True),
        ("http://logs.example.com", True),
        ("*", True),
        ("http://evil.example/livez", False),
        ("http://evil.example?@localhost/", False),
        ("http://localhost@evil.example/", False),
        ("http:///livez", False),
        ("evil.example:443", False),
    ],
)
def test_the_authority_of_the_target_counts_too(target: str, served: bool) -> None:
    assert allowed("localhost", target) is served


def test_with_keys_any_host_is_served_and_remembered() -> None:
    by = hosts(keyless=False)
    assert allowed("evil.example", by=by)
    assert by.remembered == {b"evil.example"}


def test_where_keys_and_keyless_are_served_a_key_opens_any_host_and_nothing_else_does() -> None:
    warning = hosts(checks_keys=True)
    for name in (b"authorization", b"x-api-key"):
        assert warning.allow(b"evil.example", b"/", [(b"host", b"evil.example"), (name, b"x")])
        assert not hosts().allow(b"evil.example", b"/", [(b"host", b"evil.example"), (name, b"x")])
    assert not allowed("evil.example", by=warning)
    assert warning.remembered == set()


def test_memory_is_bounded() -> None:
    by = hosts()
    for port in range(3 * MAX_REMEMBERED):
        assert allowed(f"localhost:{port}", by=by)
    assert len(by.remembered) <= MAX_REMEMBERED
