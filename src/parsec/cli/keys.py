"""`parsec keys`: who may do what, in the file that every Parsec of this data directory watches."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from parsec.cli.flags import load_or_exit
from parsec.cli.server import GAVE_UP, NOT_ALL, fail
from parsec.cli.terminal import is_terminal, visible
from parsec.core.clock import SystemRandom
from parsec.core.errors import Rejected
from parsec.core.quantity import parse_quantity
from parsec.keys import issue
from parsec.keys.file import Entry, KeysUnreadable, read

DEFAULT_SCOPES = "ingest,query"


@click.group()
def keys() -> None:
    """Make, list and end API keys. A running Parsec takes changes over within a second."""


def _where(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that tell where the file is: the one that `parsec serve` would use."""
    for add in (
        click.option("--config", type=click.Path(dir_okay=False, path_type=Path), help="As for `parsec serve`."),
        click.option("--data-dir", metavar="DIR", help="Data directory. [PARSEC_DATA_DIR; ./data]"),
        click.option("--keys-file", metavar="FILE", help="File of keys. [PARSEC_KEYS_FILE; keys.toml in DIR]"),
    ):
        command = add(command)
    return command


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
    rows = [_told(entry, _now()) for entry in entries]
    if not is_terminal():
        click.echo(b"".join(msgspec.json.encode(row) + b"\n" for row in rows), nl=False)
    elif rows:
        _print_table(rows)
    click.echo(f"{len(rows)} key{'' if len(rows) == 1 else 's'}", err=True)


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


def _told(entry: Entry, now: datetime) -> dict[str, object]:
    over = entry.expires is not None and entry.expires <= now
    return {
        "id": entry.id,
        "state": "revoked" if entry.revoked is not None else "expired" if over else "good",
        "tenant": entry.tenant,
        "scopes": entry.scopes,
        "name": entry.name,
        "created": entry.created,
        "expires": entry.expires,
        "revoked": entry.revoked,
    }


def _print_table(rows: Sequence[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("id", "state", "tenant", "scopes", "created", "expires"):
        table.add_column(title, no_wrap=True)
    table.add_column("name", overflow="fold")
    for row in rows:
        colour = "green" if row["state"] == "good" else "dim"
        scopes = row["scopes"]
        assert isinstance(scopes, tuple)
        times = [
            f"{time:%Y-%m-%d %H:%M}" if isinstance(time := row[name], datetime) else ""
            for name in ("created", "expires")
        ]
        shown = [str(row["tenant"] or "any"), ",".join(scopes), *times, str(row["name"])]
        table.add_row(str(row["id"]), Text(str(row["state"]), colour), *(Text(visible(text)) for text in shown))
    Console(highlight=False).print(table)
