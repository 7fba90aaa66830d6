"""`parsec keys`: who may do what, in the file that every Parsec of this data directory watches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from parsec.cli.flags import directory_flags, load_or_exit
from parsec.cli.server import GAVE_UP, NOT_ALL, fail
from parsec.cli.terminal import is_terminal, print_table, visible
from parsec.core.clock import SystemRandom
from parsec.core.errors import Rejected
from parsec.core.units import parse_quantity
from parsec.keys import issue
from parsec.keys.file import Entry, KeysUnreadable, read

DEFAULT_SCOPES = "ingest,query"


@click.group()
def keys() -> None:
    """Make, list and end API keys. A running Parsec takes changes over within a second."""


def _where(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that tell where the file is: the one that `parsec serve` would use."""
    file = click.option("--keys-file", metavar="FILE", help="File of keys. [PARSEC_KEYS_FILE; keys.toml in DIR]")
    return file(directory_flags(command))


@keys.command()
@_where
@click.option("--tenant", help="Whose events it is for; without one it may name any, and needs the scope admin.")
@click.option("--scope", default=DEFAULT_SCOPES, show_default=True, help="What for: ingest, query, admin; with commas.")
@click.option("--expires", help="When it ends: a time from now as 90d, or a moment as 2030-01-01.")
@click.option("--name", default="", help="What you call it.")
def create(tenant: str | None, scope: str, expires: str | None, name: str, **where: Any) -> None:
    """Make a key and print it, this once; in a pipe, alone on its line.

    Exit code: 0 made, 1 refused, 2 wrong use, 3 the file cannot be written.
    """
    scopes = [word.strip() for word in scope.split(",") if word.strip()]
    now = _now()
    with _editing():
        wanted = issue.Wanted(scopes, tenant, name, None if expires is None else _moment(expires, now))
        path = _path(**where)
        _show(issue.create(path, wanted, SystemRandom(), now), path)


@keys.command()
@_where
@click.argument("key")
@click.option("--grace", default="0", show_default=True, help="For how long the old key still works, as 24h.")
def rotate(key: str, grace: str, **where: Any) -> None:
    """Make a key in the place of KEY (its id) and print it, this once; in a pipe, alone on its line.

    Exit code: 0 made, 1 there is no such key, 2 wrong use, 3 the file cannot be written.
    """
    now = _now()
    with _editing():
        path = _path(**where)
        _show(issue.rotate(path, key, now + _duration(grace, "--grace"), SystemRandom(), now), path)


@keys.command()
@_where
@click.argument("key")
def revoke(key: str, **where: Any) -> None:
    """End KEY (its id, or the key itself). It stays in the list.

    Exit code: 0 ended, 1 there is no such key, 3 the file cannot be written.
    """
    with _editing():
        ended = issue.revoke(_path(**where), key, _now())
    click.echo(f"{ended.id} is revoked", err=True)


@keys.command("list")
@_where
def list_(**where: Any) -> None:
    """List all keys, also those that are over; none can be shown again.

    A table on a terminal, JSON lines in a pipe. Exit code: 0 listed, 3 the file cannot be read.
    """
    with _editing():
        entries = read(_path(**where)) or ()
    now = _now()
    if not is_terminal():
        click.echo(b"".join(msgspec.json.encode(_told(entry, now)) + b"\n" for entry in entries), nl=False)
    elif entries:
        _print_table(entries, now)
    click.echo(f"{len(entries)} key{'' if len(entries) == 1 else 's'}", err=True)


def _path(config: Path | None, data_dir: str | None, keys_file: str | None) -> Path:
    # Of all settings only the place matters here: a first key can be made for a host that needs one.
    given = {"PARSEC_DATA_DIR": data_dir, "PARSEC_KEYS_FILE": keys_file, "PARSEC_AUTH": "off"}
    settings = load_or_exit(config, given).settings
    return settings.keys_place


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
    if is_terminal():
        click.echo(
            f"It is shown this once; {visible(str(path))} has only its hash. Clients read it from PARSEC_API_KEY."
        )


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _moment(text: str, now: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return now + _duration(text, "--expires")
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _duration(text: str, option: str) -> timedelta:
    try:
        return timedelta(seconds=parse_quantity(text, "seconds"))
    except (ValueError, OverflowError):
        raise click.UsageError(f"{option} must be a time such as 90d, or a moment as 2030-01-01") from None


def _state(entry: Entry, now: datetime) -> str:
    over = entry.expires is not None and entry.expires <= now
    return "revoked" if entry.revoked is not None else "expired" if over else "good"


def _told(entry: Entry, now: datetime) -> dict[str, object]:
    return {
        "id": entry.id,
        "state": _state(entry, now),
        "tenant": entry.tenant,
        "scopes": entry.scopes,
        "name": entry.name,
        "created": entry.created,
        "expires": entry.expires,
        "revoked": entry.revoked,
    }


def _print_table(entries: Sequence[Entry], now: datetime) -> None:
    print_table(
        {**dict.fromkeys(("id", "state", "tenant", "scopes", "created", "expires"), "text"), "name": "long"},
        (
            (
                one.id,
                (state := _state(one, now), "green" if state == "good" else "dim"),
                one.tenant or "any",
                ",".join(one.scopes),
                *(f"{time:%Y-%m-%d %H:%M}" if time else "" for time in (one.created, one.expires)),
                one.name,
            )
            for one in entries
        ),
    )
