"""From headers to a caller: every way to say a key, and every way to say it wrong."""

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parsec.core.clock import SystemRandom
from parsec.core.errors import Rejected
from parsec.keys.issue import Wanted, create, revoke
from parsec.keys.key import ANONYMOUS, ANYONE, new_key
from parsec.keys.keyring import Keyring
from parsec.web.auth import Authenticator, Credential, credentials_of
from tests.support.manual_clock import ManualClock

NOW = datetime(2027, 1, 15, tzinfo=UTC)


class Rig:
    """Two keys, and who reads them."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "keys.toml"
        self.clock = ManualClock()
        self.key, self.other = (self.make(tenant) for tenant in ("acme", "beta"))
        self.ring = Keyring(self.path, self.clock)
        self.callers = Authenticator(self.ring)

    def make(self, tenant: str, expires: datetime | None = None) -> str:
        return create(self.path, Wanted(("ingest",), tenant, "", expires), SystemRandom(), NOW)

    def tenant(self, *credentials: Credential) -> str | None:
        return self.callers.authenticate(credentials).tenant

    def refusal(self, *credentials: Credential) -> str:
        with pytest.raises(Rejected) as refused:
            self.callers.authenticate(credentials)
        assert refused.value.status == 401
        assert self.callers.authenticate_optional(credentials) is ANONYMOUS
        return refused.value.code


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def bearer(key: str, scheme: str = "Bearer") -> Credential:
    return b"authorization", f"{scheme} {key}".encode()


def plain(key: str) -> Credential:
    return b"x-api-key", key.encode()


def basic(text: str) -> Credential:
    return b"authorization", b"Basic " + base64.b64encode(text.encode())


def test_a_key_may_be_said_in_three_ways(rig: Rig) -> None:
    for _ in range(2):  # the second time it is remembered
        for credential in (
            bearer(rig.key), bearer(rig.key, "bearer"), bearer(f" {rig.key} "), plain(rig.key), plain(f" {rig.key}"),
            basic(f"anything:{rig.key}"), basic(f":{rig.key}"),
        ):  # fmt: skip
            assert rig.tenant(credential) == "acme", credential
    assert rig.tenant(plain(rig.other)) == "beta"


def test_the_same_key_twice_is_one_and_two_keys_are_none(rig: Rig) -> None:
    assert rig.tenant(bearer(rig.key), plain(rig.key), basic(f"a:{rig.key}")) == "acme"
    assert rig.refusal(bearer(rig.key), plain(rig.other)) == "invalid_api_key"
    assert rig.refusal(bearer(rig.key), bearer(rig.other)) == "invalid_api_key"
    assert rig.refusal(plain(rig.key), plain(rig.other)) == "invalid_api_key"
    assert rig.refusal(bearer(rig.key), plain("")) == "invalid_api_key"


def test_what_is_no_key_is_refused(rig: Rig) -> None:
    assert rig.refusal() == "missing_api_key"
    unknown, long = new_key(SystemRandom()), "parsec_" + "a" * 1_000_000
    for credential in (
        *(plain(text) for text in ("", "null", "{}", "0", rig.key[:-1], rig.key + "0", rig.key.upper(), unknown, long)),
        *(bearer(text) for text in ("", "null", "undefined", unknown, long, f"{rig.key} {rig.key}", f'"{rig.key}"')),
        *(basic(text) for text in ("", rig.key, f"{rig.key}:", f"a:b:{rig.key}", f"a:{unknown}")),
        (b"authorization", b""), (b"authorization", rig.key.encode()), bearer(rig.key, "Digest"),
        (b"authorization", b"Basic ~~~"), (b"x-api-key", b"\xff\xfe\x00"), (b"authorization", b"Bearer \xff"),
    ):  # fmt: skip
        assert rig.refusal(credential) == "invalid_api_key", credential[1][:100]


SAID = st.binary(max_size=80) | st.tuples(
    st.sampled_from([b"Bearer ", b"Basic ", b"basic\t", b""]), st.binary(max_size=80)
).map(b"".join)


@given(said=st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key"]), SAID), max_size=3))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_whatever_is_said_is_no_key_and_nothing_breaks(rig: Rig, said: list[Credential]) -> None:
    assert rig.refusal(*said) == ("invalid_api_key" if said else "missing_api_key")


def test_what_was_cache_ends_with_the_key(rig: Rig) -> None:
    expiring = rig.make("acme", datetime.fromtimestamp(rig.clock.time_ns() // 1_000_000_000 + 10, UTC))
    rig.ring.reload_if_changed()
    assert rig.tenant(bearer(rig.key)) == rig.tenant(bearer(expiring)) == "acme"
    rig.clock.advance(10)
    assert rig.refusal(bearer(expiring)) == "invalid_api_key"
    assert rig.tenant(bearer(rig.key)) == "acme"
    revoke(rig.path, rig.key, NOW)
    rig.ring.reload_if_changed()
    assert rig.refusal(bearer(rig.key)) == "invalid_api_key"


def test_memory_is_bounded_whatever_is_sent(rig: Rig) -> None:
    for n in range(3000):
        assert rig.tenant(basic(f"{n}:{rig.key}")) == "acme"
        rig.callers.authenticate_optional((plain(f"made up {n}"),))
    assert len(rig.callers._cache) <= 1024
    assert not any(rig.key.encode() in remembered for remembered in rig.callers._cache)


def test_without_keys_nobody_is_asked(tmp_path: Path) -> None:
    for path in (None, tmp_path / "none.toml"):
        callers = Authenticator(Keyring(path, ManualClock()))
        assert (
            callers.authenticate(())
            is callers.authenticate((plain("x"),))
            is callers.authenticate_optional(())
            is ANYONE
        )


def test_only_two_headers_hold_keys() -> None:
    headers = [(b"host", b"x"), (b"x-api-key", b"1"), (b"authorization", b"2"), (b"x-api-key", b"3")]
    assert credentials_of(headers) == ((b"x-api-key", b"1"), (b"authorization", b"2"), (b"x-api-key", b"3"))


HERE, ELSEWHERE = (
    ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"),
    ("10.0.0.7", "", "::ffff:10.0.0.7", "fe80::1%lo"),
)


@pytest.mark.parametrize("address", [*HERE, *ELSEWHERE])
def test_with_warn_this_machine_needs_no_key_but_one_that_is_shown_is_checked(rig: Rig, address: str) -> None:
    warning = Authenticator(rig.ring, warns=True)

    def caller(*credentials: Credential) -> str | None:
        try:
            found = warning.authenticate(credentials, "ingest", address)
        except Rejected as error:
            return error.code
        return "anyone" if found is ANYONE else found.tenant

    assert caller() == ("anyone" if address in HERE else "missing_api_key")
    assert warning.is_still_valid((), address) is (address in HERE)
    assert caller(bearer(rig.key)) == "acme"
    assert caller(bearer("parsec_nonsense")) == caller(plain("")) == caller(basic("nobody:")) == "invalid_api_key"
    revoke(rig.path, rig.key, NOW)
    rig.ring.reload_if_changed()
    assert caller(bearer(rig.key)) == "invalid_api_key"


@pytest.mark.parametrize("address", [*HERE, *ELSEWHERE])
def test_without_warn_an_address_is_no_key(rig: Rig, address: str) -> None:
    assert not rig.callers.serves_keyless((), address)
    with pytest.raises(Rejected, match="needs an API key"):
        rig.callers.authenticate((), "ingest", address)
