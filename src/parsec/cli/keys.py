"""`parsec keys`: create, list and revoke API keys. In: a file of keys. Out: the same file, changed, or a list.

Next: parsec.keys.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from parsec.cli.first_key import confirm_first_key
from parsec.cli.setting_flags import directory_flags, load_or_exit
from parsec.cli.terminal import (
    GAVE_UP,
    NOT_ALL,
    Cell,
    counted,
    fail,
    is_terminal,
    print_json_lines,
    print_table,
    visible,
)
from parsec.core.clock import SystemRandom
from parsec.core.errors import Rejected
from parsec.core.units import parse_quantity
from parsec.keys import issue
from parsec.keys.file import Entry, KeysUnreadable, read
from parsec.settings import Settings

DEFAULT_SCOPES = "ingest,query"


@click.group()
def keys() -> None:
    """Create, list and revoke API keys. A running Parsec applies changes within a second."""


def _file_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the flags that say where the file is: the one that `parsec serve` would use."""
    file = click.option("--keys-file", metavar="FILE", help="File of keys. [PARSEC_KEYS_FILE; keys.toml in DIR]")
    return file(directory_flags(command))


@keys.command()
@_file_flags
@click.option("--tenant", help="Tenant of the key. A key without one may name any tenant, and needs the scope admin.")
@click.option(
    "--scope", default=DEFAULT_SCOPES, show_default=True, help="Scopes, separated by commas: ingest, query, admin."
)
@click.option(
    "--expires", help="Expiry of the key: a time from now, such as 90d, or a date, such as 2030-01-01. Default: never."
)
@click.option("--name", default="", help="Name of the key, shown in `parsec keys list`.")
@click.option("--yes", is_flag=True, help="Create the first key of a running Parsec without asking.")
def create(tenant: str | None, scope: str, expires: str | None, name: str, yes: bool, **place: Any) -> None:
    """Create a key and print it, this once.

    With the first key a running Parsec requires one of every request: the command shows who sends without a key, and
    asks. In a pipe the key is alone on its line. Exit code: 0 created, 1 refused, 2 wrong use or not confirmed, 3 the
    file cannot be written.
    """
    scopes = [word.strip() for word in scope.split(",") if word.strip()]
    now = _now()
    with _editing():
        wanted = issue.Wanted(scopes, tenant, name, None if expires is None else _time(expires, now))
        path = _path(**place)
        confirm_first_key(path, _settings(**place), yes=yes)
        _show(issue.create(path, wanted, SystemRandom(), now), path)


@keys.command()
@_file_flags
@click.argument("key")
@click.option("--grace", default="0", show_default=True, help="How long the old key remains valid, for example 24h.")
def rotate(key: str, grace: str, **place: Any) -> None:
    """Replace KEY (its id) and print the new key, this once.

    In a pipe the key is alone on its line. Exit code: 0 created, 1 no such key, 2 wrong use, 3 the file cannot be
    written.
    """
    now = _now()
    with _editing():
        path = _path(**place)
        _show(issue.rotate(path, key, now + _duration(grace, "--grace"), SystemRandom(), now), path)


@keys.command()
@_file_flags
@click.argument("key")
def revoke(key: str, **place: Any) -> None:
    """Revoke KEY (its id, or the key itself). It stays in the list.

    Exit code: 0 revoked, 1 no such key, 3 the file cannot be written.
    """
    with _editing():
        ended = issue.revoke(_path(**place), key, _now())
    click.echo(f"{ended.id} is revoked", err=True)


@keys.command("list")
@_file_flags
def list_(**place: Any) -> None:
    """List all keys, expired and revoked ones too.

    The keys themselves are not stored and cannot be shown again. Prints a table on a terminal, JSON lines in a pipe.
    Exit code: 0 listed, 3 the file cannot be read.
    """
    with _editing():
        entries = read(_path(**place)) or ()
    now = _now()
    if not is_terminal():
        print_json_lines(_row(entry, now) for entry in entries)
    else:
        names = ("id", "state", "tenant", "scopes", "created", "expires")
        print_table({**dict.fromkeys(names, "text"), "name": "long"}, (_cells(entry, now) for entry in entries))
    click.echo(counted(len(entries), "key"), err=True)


def _path(**place: Any) -> Path:
    return _settings(**place).keys_file_path


def _settings(config: Path | None, data_dir: str | None, keys_file: str | None) -> Settings:
    # Auth is off because only paths matter here: a host that needs a key must be able to get its first.
    given = {"PARSEC_DATA_DIR": data_dir, "PARSEC_KEYS_FILE": keys_file, "PARSEC_AUTH": "off"}
    return load_or_exit(config, given).settings


@contextmanager
def _editing() -> Iterator[None]:
    try:
        yield
    except Rejected as error:
        fail(error.message, NOT_ALL)
    except KeysUnreadable as error:
        fail(visible(str(error)), GAVE_UP)


def _show(key: str, path: Path) -> None:
    click.echo(key)
    text = f"Copy the key now: {visible(str(path))} holds only its hash. Clients read the key from PARSEC_API_KEY."
    click.echo(text, err=True)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _time(text: str, now: datetime) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return now + _duration(text, "--expires")
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _duration(text: str, option: str) -> timedelta:
    try:
        return timedelta(seconds=parse_quantity(text, "seconds"))
    except (ValueError, OverflowError):
        more = ", or a date such as 2030-01-01" if option == "--expires" else ""
        raise click.UsageError(f"{option} must be a time such as 90d{more}") from None


def _state(entry: Entry, now: datetime) -> str:
    over = entry.expires is not None and entry.expires <= now
    return "revoked" if entry.revoked is not None else "expired" if over else "good"


def _row(entry: Entry, now: datetime) -> dict[str, object]:
    names = ("tenant", "scopes", "name", "created", "expires", "revoked")
    return {"id": entry.id, "state": _state(entry, now), **{name: getattr(entry, name) for name in names}}


def _cells(entry: Entry, now: datetime) -> Sequence[Cell]:
    state = _state(entry, now)
    times = (f"{time:%Y-%m-%d %H:%M}" if time else "" for time in (entry.created, entry.expires))
    styled = (state, "green" if state == "good" else "dim")
    return (entry.id, styled, entry.tenant or "any", ",".join(entry.scopes), *times, entry.name)
