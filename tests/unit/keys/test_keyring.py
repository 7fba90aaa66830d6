"""The numbers are the invariants at the top of parsec.keys.keyring."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from parsec.core.clock import SystemRandom
from parsec.core.errors import Rejected
from parsec.keys.file import KeysUnreadable
from parsec.keys.issue import Wanted, create, revoke
from parsec.keys.key import new_key
from parsec.keys.keyring import Keyring
from tests.support.manual_clock import ManualClock


class Rig:
    """A file of keys and who reads it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "keys.toml"
        self.clock = ManualClock()
        self.now = datetime.fromtimestamp(self.clock.time_ns() / 1e9, UTC)

    def ring(self) -> Keyring:
        return Keyring(self.path, self.clock)

    def make(self, expires: datetime | None = None, tenant: str = "acme") -> str:
        return create(self.path, Wanted(("query",), tenant, "", expires), SystemRandom(), self.now)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def refusal(ring: Keyring, key: str) -> str:
    with pytest.raises(Rejected) as refused:
        ring.find(key)
    assert (refused.value.code, refused.value.status) == ("invalid_api_key", 401)
    assert key not in refused.value.message or not key
    return refused.value.message


def test_without_a_file_no_key_is_asked_for_until_there_is_one(rig: Rig) -> None:
    ring = rig.ring()
    assert ring.is_open
    key = rig.make()
    ring.reload_if_changed()
    assert not ring.is_open
    assert ring.find(key).caller.tenant == "acme"
    assert ring.find(key).caller.rights == {"query"}


def test_1_nobody_gets_in_once_the_last_key_is_gone(rig: Rig) -> None:
    key = rig.make()
    ring = rig.ring()
    revoke(rig.path, key, rig.now)
    ring.reload_if_changed()
    assert not ring.is_open
    assert "revoked" in refusal(ring, key)
    assert not rig.ring().is_open, "nor after a start"
    rig.path.write_text("")
    ring.reload_if_changed()
    assert not ring.is_open
    assert ring.keys == {}


def test_1_a_file_that_is_deleted_or_damaged_changes_nothing(rig: Rig) -> None:
    key = rig.make()
    ring = rig.ring()
    content = rig.path.read_bytes()
    rig.path.write_text("[[key")
    ring.reload_if_changed()
    assert ring.find(key).caller.tenant == "acme"
    rig.path.unlink()
    ring.reload_if_changed()
    assert ring.find(key).caller.tenant == "acme"
    assert not ring.is_open
    rig.path.write_bytes(content)
    other = rig.make(tenant="beta")
    ring.reload_if_changed()
    assert ring.find(other).caller.tenant == "beta"


def test_a_damaged_file_at_the_start_is_no_start(rig: Rig) -> None:
    rig.path.write_text("[[key")
    with pytest.raises(KeysUnreadable):
        rig.ring()


def test_a_key_expires_to_the_second(rig: Rig) -> None:
    key = rig.make(datetime.fromtimestamp(rig.clock.time_ns() // 1_000_000_000 + 10, UTC))
    ring = rig.ring()
    rig.clock.advance(9.9)
    known = ring.find(key)
    rig.clock.advance(0.1)
    assert "expired" in refusal(ring, key)
    with pytest.raises(Rejected, match="expired"):
        ring.require_unexpired(known)


def test_a_typo_is_told_from_a_key_that_is_unknown(rig: Rig) -> None:
    key = rig.make()
    ring = rig.ring()
    assert "mistyped" in refusal(ring, key[:-1])
    assert "mistyped" in refusal(ring, "")
    assert "is unknown" in refusal(ring, new_key(SystemRandom()))


def test_keys_are_another_object_after_a_change_and_the_same_without(rig: Rig) -> None:
    rig.make()
    ring = rig.ring()
    before = ring.keys
    ring.reload_if_changed()
    assert ring.keys is before
    rig.make()
    ring.reload_if_changed()
    assert ring.keys is not before
