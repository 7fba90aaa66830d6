"""The file of keys: made, changed as a whole, and never with a key in it."""

import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsec.core.clock import SystemRandom
from parsec.core.errors import Rejected
from parsec.keys.file import Entry, KeysUnreadable, change, read, read_all
from parsec.keys.issue import Wanted, create, revoke, rotate
from parsec.keys.key import hash_of, name_of

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ACME = Wanted(("ingest", "query"), "acme")


def made(path: Path, wanted: Wanted = ACME) -> str:
    return create(path, wanted, SystemRandom(), NOW)


def entries(path: Path) -> tuple[Entry, ...]:
    found = read(path)
    assert found is not None
    return found


def test_a_new_key_is_an_entry_with_its_hash_in_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "data" / "keys.toml"
    name = 'a "name" with \\ and é 😀'
    key = made(path, Wanted(["query", "ingest"], " Acme ", name, NOW + timedelta(days=1)))
    assert entries(path) == (
        Entry(
            id=name_of(key) or "", hash=hash_of(key), scopes=("ingest", "query"), tenant="acme", name=name,
            created=NOW, expires=NOW + timedelta(days=1),
        ),
    )  # fmt: skip
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [file for file in path.parent.iterdir() if key[16:].encode() in file.read_bytes()]


@settings(max_examples=50)
@given(name=st.text(max_size=100).filter(str.isprintable))
def test_any_name_that_can_be_seen_comes_back(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    made(path, Wanted(("ingest",), "acme", name))
    assert entries(path)[0].name == name


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (Wanted(("ingest",)), "missing_tenant"),
        (Wanted((), "acme"), "invalid_scope"),
        (Wanted(("read",), "acme"), "invalid_scope"),
        (Wanted(("ingest",), "a b"), "invalid_tenant_id"),
        (Wanted(("ingest",), ""), "invalid_tenant_id"),
        (Wanted(("ingest",), "acme", "a\nb"), "invalid_name"),
        (Wanted(("ingest",), "acme", "", NOW), "invalid_expiry"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_no_file(tmp_path: Path, wanted: Wanted, code: str) -> None:
    with pytest.raises(Rejected) as refused:
        made(tmp_path / "keys.toml", wanted)
    assert refused.value.code == code
    assert read(tmp_path / "keys.toml") is None


def test_a_key_without_a_tenant_is_for_admins(tmp_path: Path) -> None:
    made(tmp_path / "keys.toml", Wanted(("admin", "query")))
    assert [(entry.tenant, entry.scopes) for entry in entries(tmp_path / "keys.toml")] == [(None, ("query", "admin"))]


def test_a_revoked_key_stays_as_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    first, second = made(path), made(path)
    assert revoke(path, name_of(first) or "", NOW).revoked == NOW
    assert revoke(path, first, NOW + timedelta(1)).revoked == NOW, "by itself, and again"
    assert [entry.revoked for entry in entries(path)] == [NOW, None]
    with pytest.raises(Rejected, match="no key with this id"):
        revoke(path, "none", NOW)
    assert [entry.id for entry in entries(path)] == [name_of(first), name_of(second)]


def test_a_rotated_key_has_what_the_old_one_had_and_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    wanted = Wanted(("query",), "acme", "dash", NOW + timedelta(days=30))
    first, second = made(path, wanted), made(path, wanted)
    later = NOW + timedelta(hours=1)
    new = [
        rotate(path, name_of(first) or "", NOW, SystemRandom(), NOW),
        rotate(path, second, later, SystemRandom(), NOW),
    ]
    one, two, three, four = entries(path)
    assert (one.revoked, one.expires) == (NOW, wanted.expires)
    assert (two.revoked, two.expires) == (None, later)
    assert [(each.tenant, each.scopes, each.name, each.expires) for each in (three, four)] == [
        ("acme", ("query",), "dash", wanted.expires)
    ] * 2
    assert [each.hash for each in (three, four)] == [hash_of(key) for key in new]
    with pytest.raises(Rejected, match="is revoked"):
        rotate(path, first, NOW, SystemRandom(), NOW)


@pytest.mark.parametrize(
    "content",
    [
        b"[[key]",
        b"\xff",
        b"[[key]]\nid = 'a'",
        b"[[keys]]\nid = 'a'",
        b"secret = 'not hexadecimal'",
        b"[[key]]\nid='a'\nhash='" + b"0" * 64 + b"'\nscopes=['root']\ntenant='a'\ncreated=2030-01-01T00:00:00Z",
        b"[[key]]\nid='a'\nhash='" + b"0" * 64 + b"'\nscopes=['query']\ncreated=2030-01-01T00:00:00Z",
        b"[[key]]\nid='a'\nhash='" + b"0" * 63 + b"'\nscopes=['query']\ntenant='a'\ncreated=2030-01-01T00:00:00Z",
        b"[[key]]\nid='a'\nhash='" + b"0" * 64 + b"'\nscopes=['query']\ntenant='A'\ncreated=2030-01-01T00:00:00Z",
        b"[[key]]\nid='a'\nhash='" + b"0" * 64 + b"'\nscopes=['query']\ntenant='a'\ncreated=2030-01-01T00:00:00",
    ],
)
def test_a_damaged_file_is_told_and_not_written_over(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.toml"
    path.write_bytes(content)
    with pytest.raises(KeysUnreadable, match="damaged"):
        read(path)
    with pytest.raises(KeysUnreadable, match="damaged"):
        made(path)
    assert path.read_bytes() == content


def test_a_key_may_not_stand_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    made(path)
    head, key = path.read_text().split("[[key]]")
    path.write_text(f"{head}[[key]]{key}[[key]]{key}")
    with pytest.raises(KeysUnreadable, match="twice"):
        read(path)


def test_a_directory_in_its_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeysUnreadable, match="cannot be read"):
        read(tmp_path)


def test_many_at_once_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    threads = [threading.Thread(target=made, args=(path,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries(path)) == 16


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    made(path)
    before = path.read_bytes()

    def edit(_: object) -> list[Entry]:
        raise Rejected("no", "no")

    with pytest.raises(Rejected):
        change(path, edit)
    assert path.read_bytes() == before


def test_the_secret_of_a_file_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    key = made(path)
    first = read_all(path)
    revoke(path, key, NOW)
    rotate(path, made(path), NOW, SystemRandom(), NOW)
    last = read_all(path)
    assert first is not None
    assert last is not None
    assert first.secret == last.secret
    assert len(bytes.fromhex(first.secret)) == 32
    made(tmp_path / "another.toml")
    assert first.secret not in (tmp_path / "another.toml").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12346)
    made(tmp_path / "keys.toml")
    assert {(file.stat().st_uid, file.stat().st_gid) for file in tmp_path.iterdir()} == {(12345, 12346)}
