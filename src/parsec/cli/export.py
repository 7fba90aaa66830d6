"""`parsec export`: all events of a question into a file, and on from where it stopped."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from parsec.cli.exit_handling import INTERRUPTED
from parsec.cli.server import NOT_ALL, asking, fail, scope_flags, warn_of_gaps
from parsec.cli.terminal import visible
from parsec.client import Client
from parsec.core.errors import ParsecError, Retryable

_GOES_ON = "the same command goes on from here"


class _Begun(msgspec.Struct, frozen=True):
    """How far an export is: what was asked, the cursor of what comes next, and the sound length of the file.

    `total`: about how many events there are, where a person wanted to know.
    """

    asked: list[str | None]
    cursor: str
    events: int
    size_bytes: int
    total: int | None = None


@click.command()
@scope_flags
@click.option(
    "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File for the JSON lines."
)
@click.option(
    "--give-up-after",
    "patience_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds for which a page is asked for again.",
)
def export(
    expression: str | None,
    url: str,
    tenant: str | None,
    start: str | None,
    end: str | None,
    output: Path,
    patience_s: float,
) -> None:
    """Write all events of a question to a file, oldest first, one JSON object per line.

    What is done so far is noted in OUTPUT.begun after each page; the same command again goes on from there, for the
    same moments even where --from or --to are relative. A file that is complete is never written over.

    Exit code: 0 all written, 1 refused or the file is in the way, 3 no answer: give the same command again.
    """
    note = output.with_name(output.name + ".begun")
    asked = [expression, tenant, start, end]
    begun = _begun(note, asked, output)
    with asking(url) as client, output.open("ab") as file:
        file.truncate(begun.size_bytes if begun else 0)
        try:
            events = _write_all(client, file, note, asked, begun, patience_s)
        except Retryable as error:
            raise Retryable(f"{error}; {_GOES_ON}") from error
        except KeyboardInterrupt:
            fail(f"interrupted; {_GOES_ON}", INTERRUPTED)
    click.echo(f"{events:,} event{'' if events == 1 else 's'} written to {visible(str(output))}", err=True)


def _begun(note: Path, asked: list[str | None], output: Path) -> _Begun | None:
    """None: nothing is there yet. Ends the command when another export, or none, made what is there."""
    if not note.exists():
        if output.exists() and output.stat().st_size:
            fail(f"{visible(str(output))} is there already; name another file, or remove it", NOT_ALL)
        return None
    try:
        begun = msgspec.json.decode(note.read_bytes(), type=_Begun)
    except msgspec.DecodeError:
        fail(f"{visible(str(note))} cannot be read; remove it and the file beside it to begin anew", NOT_ALL)
    if begun.asked != asked or not output.exists() or output.stat().st_size < begun.size_bytes:
        fail(f"{visible(str(note))} is of another export; remove it and the file beside it to begin anew", NOT_ALL)
    return begun


def _write_all(
    client: Client, file: BinaryIO, note: Path, asked: list[str | None], begun: _Begun | None, patience_s: float
) -> int:
    q, tenant, start, end = asked
    cursor, events = (begun.cursor, begun.events) if begun else (None, 0)
    lacking: set[str] = set()
    # A cursor holds the moments that the first page resolved.
    pages = client.pages(
        tenant, q=q, start=start, end=end, limit=None, cursor=cursor, order="oldest", give_up_after_s=patience_s
    )
    total = begun.total if begun else _total(client, asked) if sys.stderr.isatty() else None
    with _progress(events, total) as told:
        for page in pages:
            file.write(b"".join(bytes(event) + b"\n" for event in page.events))
            file.flush()
            os.fsync(file.fileno())
            events += len(page.events)
            told(events)
            if page.cursor is not None:
                _keep(note, _Begun(asked, page.cursor, events, file.tell(), total))
            warn_of_gaps(page, lacking)
    note.unlink(missing_ok=True)
    return events


def _total(client: Client, asked: list[str | None]) -> int | None:
    """None: that cannot be told, which is no reason not to export."""
    q, tenant, start, end = asked
    try:
        count = client.aggregate(tenant, q=q, start=start, end=end).groups[0].values["count"]
    except (ParsecError, LookupError):
        return None
    return int(count or 0)


def _keep(note: Path, begun: _Begun) -> None:
    """Whole or not at all."""
    new = note.with_name(note.name + ".new")
    new.write_bytes(msgspec.json.encode(begun))
    new.replace(note)


@contextmanager
def _progress(events: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while it is a terminal; the function given takes the number of events so far."""
    if not sys.stderr.isatty():
        yield lambda _events: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    of = "" if total is None else f" of about {total:,}"
    columns = (BarColumn(), TextColumn("{task.completed:,}" + of), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total, completed=events)
        yield lambda now: progress.update(task, completed=now)
