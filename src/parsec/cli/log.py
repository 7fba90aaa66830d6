"""`parsec log`: the log of a stopped Parsec, checked or written out. Nothing in it is changed."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
import msgspec

from parsec.cli.flags import directory_flags, load_or_exit
from parsec.cli.server import GAVE_UP, NOT_ALL, fail
from parsec.cli.terminal import is_terminal, print_table, visible
from parsec.core.errors import Fatal, Retryable

if TYPE_CHECKING:
    from parsec.adapters.log.offline import Checked, OfflineLog

_VERDICT_COLOURS = {"sound": "green", "torn tail": "yellow", "damaged": "bold red"}


@click.group()
def log() -> None:
    """Look into the log of a stopped Parsec."""


@log.command()
@directory_flags
def verify(config: Path | None, data_dir: str | None) -> None:
    """Read every frame of every segment, of spools, too, and say what is not sound.

    A table on a terminal, JSON lines in a pipe. A torn tail is no damage: nobody was told of what is in it.

    Exit code: 0 all sound, 1 something is damaged or missing, 3 the directory is in use, has no log or cannot be read.
    """
    rows: list[Checked] = []
    with _opened(config, data_dir) as logs:
        with _bar(sum(each.size_bytes for each in logs)) as advance:
            for each in logs:
                for checked in each.check():
                    rows.append(checked)
                    advance(checked.bytes)
                    if not is_terminal():
                        click.echo(msgspec.json.encode(checked))
        if is_terminal():
            _print_table(rows)
        set_aside = sum(len(each.set_aside) for each in logs)
    damaged = [row for row in rows if row.verdict == "damaged"]
    events, missing = sum(row.events for row in rows), sum(row.missing for row in rows)
    found = f"{len(damaged)} of {len(rows)} files damaged, {missing:,} events missing" if damaged else "all sound"
    click.echo(f"{len(rows)} files, {events:,} events: {found}", err=True)
    if set_aside:
        click.echo(f"{set_aside} damaged parts were set aside before, beside the segments as *.corrupt", err=True)
    sys.exit(NOT_ALL if damaged else 0)


@log.command()
@directory_flags
@click.option("--from-offset", "begin", type=click.IntRange(0), default=0, help="First offset, included.")
@click.option("--to-offset", "end", type=click.IntRange(0), help="Last offset, excluded.")
@click.option("--output", type=click.File("wb", lazy=True), help="File to write; default: standard output.")
def export(config: Path | None, data_dir: str | None, begin: int, end: int | None, output: IO[bytes] | None) -> None:
    """Write the events of the log as JSON lines, each an envelope, in order of offset.

    Exit code: 0 all of them, 1 some are lost, 3 the directory is in use, has no log or cannot be read.
    """
    written = lost = 0
    to_terminal = output is None and is_terminal()
    target: IO[bytes] = output or sys.stdout.buffer
    with _opened(config, data_dir) as logs:
        if logs[0].name != "log":
            raise Fatal("there are spools, but no log; name the directory of one of them")
        with _bar(0 if to_terminal else logs[0].size_bytes) as advance:
            for lines in logs[0].lines(begin, end):
                if lines.lost:
                    click.echo(f"parsec: {lines.lost:,} events before offset {lines.first} are lost", err=True)
                for value in lines.values:
                    # No event may act on a terminal.
                    target.write((visible(value.decode(errors="replace")).encode() if to_terminal else value) + b"\n")
                written += len(lines.values)
                lost += lines.lost
                advance(lines.size)
        target.flush()
    click.echo(f"{written:,} events written" + (f", {lost:,} lost" if lost else ""), err=True)
    sys.exit(NOT_ALL if lost else 0)


@contextmanager
def _opened(config: Path | None, data_dir: str | None) -> "Iterator[Sequence[OfflineLog]]":
    """The logs under their locks; what cannot be read ends the command."""
    settings = load_or_exit(config, {"PARSEC_DATA_DIR": data_dir}).settings
    # Late: what a server imports takes longer than `parsec log --help` may.
    from parsec.wiring.offline import offline_logs

    try:
        logs = offline_logs(settings)
        try:
            yield logs
        finally:
            for each in logs:
                each.close()
    except (Fatal, Retryable) as error:
        fail(visible(str(error)), GAVE_UP)
    except BrokenPipeError:
        raise  # whoever reads our output has enough
    except OSError as error:
        fail(visible(str(error)), GAVE_UP)


@contextmanager
def _bar(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while it is a terminal; the function given takes the bytes that were read since."""
    if not total_bytes or not sys.stderr.isatty():
        yield lambda _size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeElapsedColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total_bytes)
        yield lambda size: progress.advance(task, size)


def _print_table(rows: "Sequence[Checked]") -> None:
    figures = ("first", "end", "events", "missing", "bytes")
    print_table(
        {"log": "long", "file": "long", "verdict": "text", **dict.fromkeys(figures, "number"), "why": "long"},
        (
            (
                row.log,
                row.file,
                (row.verdict, _VERDICT_COLOURS[row.verdict]),
                *(f"{getattr(row, name):,}" for name in figures),
                row.why,
            )
            for row in rows
        ),
    )
