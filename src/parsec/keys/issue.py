"""Create, revoke and rotate API keys in the keys file, for `parsec keys`.

In: the wanted key. Out: the key itself, which cannot be shown again. Errors: Rejected, KeysUnreadable.
Next: parsec.keys.file.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from parsec.api.event_rules import tenant_name
from parsec.core.clock import Random
from parsec.core.errors import Rejected
from parsec.keys.file import Entry, change
from parsec.keys.key import RIGHTS, hash_of, name_of, new_key, rights

MAX_KEY_NAME_CHARS = 100


class Wanted(msgspec.Struct, frozen=True):
    """A key to create. `tenant` None: it may name any tenant; only with the scope admin."""

    scopes: Sequence[str]
    tenant: str | None = None
    name: str = ""
    expires: datetime | None = None


def create(path: Path, wanted: Wanted, random: Random, now: datetime) -> str:
    key, entry = _made(wanted, random, now)
    change(path, lambda entries: [*entries, entry])
    return key


def revoke(path: Path, key: str, now: datetime) -> Entry:
    """Revoke a key, named by its id or by itself. A revoked key stays revoked."""
    ended: list[Entry] = []

    def edit(entries: Sequence[Entry]) -> Sequence[Entry]:
        found = _found(entries, key)
        ended.append(msgspec.structs.replace(found, revoked=found.revoked or now))
        return _replaced(entries, ended[0])

    change(path, edit)
    return ended[0]


def rotate(path: Path, key: str, until: datetime, random: Random, now: datetime) -> str:
    """A new key with the same rights; the old one expires at `until`, at the latest."""
    made: list[str] = []

    def edit(entries: Sequence[Entry]) -> Sequence[Entry]:
        old = _found(entries, key)
        if old.revoked is not None or (old.expires is not None and old.expires <= now):
            raise Rejected("key_over", f"Key {old.id} is revoked or expired. Create a new one.")
        new, entry = _made(Wanted(old.scopes, old.tenant, old.name, old.expires), random, now)
        made.append(new)
        if until <= now:
            old = msgspec.structs.replace(old, revoked=now)
        elif old.expires is None or old.expires > until:
            old = msgspec.structs.replace(old, expires=until)
        return [*_replaced(entries, old), entry]

    change(path, edit)
    return made[0]


def _made(wanted: Wanted, random: Random, now: datetime) -> tuple[str, Entry]:
    tenant = None if wanted.tenant is None else tenant_name(wanted.tenant)
    try:
        wished = rights(wanted.scopes)
        scopes = tuple(right for right in RIGHTS if right in wished)
    except ValueError as error:
        raise Rejected("invalid_scope", f"{error}.") from None
    if wanted.tenant is not None and tenant is None:
        raise Rejected(
            "invalid_tenant_id", "A tenant name is 1 to 64 of a-z 0-9 . _ - and begins with a letter or digit."
        )
    if tenant is None and "admin" not in scopes:
        raise Rejected("missing_tenant", "Name a tenant with --tenant. Only a key with the scope admin may do without.")
    if len(wanted.name) > MAX_KEY_NAME_CHARS or not wanted.name.isprintable():
        raise Rejected("invalid_name", f"A name is up to {MAX_KEY_NAME_CHARS} printable characters.")
    if wanted.expires is not None and wanted.expires <= now:
        raise Rejected("invalid_expiry", "The expiry is in the past.")
    key = new_key(random)
    entry = Entry(
        id=name_of(key) or "", hash=hash_of(key), scopes=scopes, tenant=tenant, name=wanted.name, created=now,
        expires=wanted.expires,
    )  # fmt: skip
    return key, entry


def _found(entries: Sequence[Entry], key: str) -> Entry:
    wanted = name_of(key) or key
    for entry in entries:
        if entry.id == wanted:
            return entry
    raise Rejected("unknown_key", "There is no key with this id. `parsec keys list` shows all of them.")


def _replaced(entries: Sequence[Entry], changed: Entry) -> list[Entry]:
    return [changed if entry.id == changed.id else entry for entry in entries]
