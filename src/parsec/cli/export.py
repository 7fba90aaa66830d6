"""`parsec export`: write all events of a query to a file, and resume where it stopped. In: a query. Out: a file.

Next: parsec.client.
"""

import os
import sys
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from parsec.api import parameters
from parsec.api.query import EventPage
from parsec.cli.client_flags import explain_if_empty, open_client, searched_range, server_flags, warn_if_incomplete
from parsec.cli.query_flags import query_flags
from parsec.cli.terminal import INTERRUPTED, NOT_ALL, counted, fail, progress_bar, visible
from parsec.client import Client
from parsec.core.errors import ParsecError, Retryable

_ALL_TIMES = "0", "+25h"
"""Events may be dated a day ahead of the server's clock (parsec.api.event_rules)."""
_RESUME = "run the same command again to continue"


class _Progress(msgspec.Struct, frozen=True):
    """How far an export is: its query, the cursor of the next page, and the length of the file up to there.

    `total`: about how many events there are, counted for a progress bar only.
    """

    asked: dict[str, Any]
    cursor: str
    events: int
    size_bytes: int
    total: int | None = None


@click.command()
@query_flags(parameters.EXPORT, without=("order", "fields", "limit"))
@click.option(
    "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File for the JSON lines."
)
@click.option(
    "--give-up-after",
    "give_up_after_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds to retry a page.",
)
@server_flags
def export(url: str, output: Path, give_up_after_s: float, **asked: Any) -> None:
    """Write all events of a query to a file.

    The oldest come first, one JSON object per line. EXPRESSION selects events, as for `parsec query`; --from and --to
    default to all times. OUTPUT.begun holds the progress after each page: the same command resumes from there, with the
    same time range even when --from or --to are relative. A complete file is never overwritten.

    Exit code: 0 all written, 1 refused or the file is in the way, 3 no answer: run the same command again.
    """
    asked["start"], asked["end"] = asked["start"] or _ALL_TIMES[0], asked["end"] or _ALL_TIMES[1]
    note = output.with_name(output.name + ".begun")
    begun = _read_progress(note, asked, output)
    try:
        opened = output.open("ab")
    except OSError as error:
        fail(f"{visible(str(output))} cannot be written: {error.strerror}", NOT_ALL)
    with open_client(url) as client, opened as file:
        try:
            file.truncate(begun.size_bytes if begun else 0)
            events, first = _write_all(client, file, note, asked, begun, give_up_after_s)
        except Retryable as error:
            raise Retryable(f"{error}; {_RESUME}") from error
        except KeyboardInterrupt:
            fail(f"interrupted; {_RESUME}", INTERRUPTED)
        except OSError as error:
            fail(f"{visible(str(output))} cannot be written ({error.strerror}); {_RESUME}", NOT_ALL)
    click.echo(f"{counted(events, 'event')} written to {visible(str(output))}, {searched_range(first)}", err=True)
    if not events:
        explain_if_empty(first)


def _read_progress(note: Path, asked: dict[str, Any], output: Path) -> _Progress | None:
    """None: nothing is there yet. Ends the command when the file or the note is not of this export."""
    names = f"{visible(str(note))} and {visible(output.name)}"
    if not note.exists():
        if output.exists() and output.stat().st_size:
            fail(f"{visible(str(output))} exists; name another file, or remove it", NOT_ALL)
        return None
    try:
        begun = msgspec.json.decode(note.read_bytes(), type=_Progress)
    except msgspec.DecodeError:
        fail(f"{visible(str(note))} cannot be read; remove {names} to start again", NOT_ALL)
    if begun.asked != asked or not output.exists() or output.stat().st_size < begun.size_bytes:
        fail(f"{visible(str(note))} belongs to another export; remove {names} to start again", NOT_ALL)
    return begun


def _write_all(
    client: Client, file: BinaryIO, note: Path, asked: dict[str, Any], begun: _Progress | None, give_up_after_s: float
) -> tuple[int, EventPage]:
    """The number of events written so far, and the first page of this run."""
    cursor, events = (begun.cursor, begun.events) if begun else (None, 0)
    reported: set[str] = set()
    first: EventPage | None = None
    # A cursor holds the time range that the first page resolved.
    pages = client.pages(**asked, limit=None, cursor=cursor, order="oldest", give_up_after_s=give_up_after_s)
    total = begun.total if begun else _total(client, asked) if sys.stderr.isatty() else None
    of = "" if total is None else f" of about {total:,}"
    with progress_bar(total, done=events) as show:
        for page in pages:
            first = first or page
            file.write(b"".join(bytes(event) + b"\n" for event in page.events))
            file.flush()
            os.fsync(file.fileno())
            events += len(page.events)
            show(events, f"{events:,}{of}")
            if page.cursor is not None:
                _write_progress(note, _Progress(asked, page.cursor, events, file.tell(), total))
            warn_if_incomplete(page, reported)
    note.unlink(missing_ok=True)
    assert first is not None, "an empty result is one empty page"
    return events, first


def _total(client: Client, asked: dict[str, Any]) -> int | None:
    """None: unknown, which is no reason not to export."""
    try:
        count = client.aggregate(**asked).groups[0].values["count"]
    except (ParsecError, LookupError):
        return None
    return int(count or 0)


def _write_progress(note: Path, progress: _Progress) -> None:
    """Atomically."""
    new = note.with_name(note.name + ".new")
    new.write_bytes(msgspec.json.encode(progress))
    new.replace(note)
