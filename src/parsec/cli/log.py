"""`parsec log`: verify or export the log of a stopped Parsec, unchanged. In: a directory. Out: verdicts, or events.

Next: parsec.adapters.log.offline, by way of parsec.wiring.offline.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
import msgspec

from parsec.cli.setting_flags import directory_flags, load_or_exit
from parsec.cli.terminal import GAVE_UP, NOT_ALL, fail, is_terminal, print_table, progress_bar, visible
from parsec.core.errors import Fatal, Retryable

if TYPE_CHECKING:
    from parsec.adapters.log.offline import FileCheck, OfflineLog

_COLOURS = {"sound": "green", "torn tail": "yellow", "damaged": "bold red"}


@click.group()
def log() -> None:
    """Verify or export the log of a stopped Parsec."""


@log.command()
@directory_flags
def verify(config: Path | None, data_dir: str | None) -> None:
    """Read every frame of every segment, spools included, and report damage.

    Prints a table on a terminal, JSON lines in a pipe. A torn tail is no damage: its events were never acknowledged.

    Exit code: 0 all sound, 1 damaged or incomplete, 3 the directory is in use, has no log or cannot be read.
    """
    rows: list[FileCheck] = []
    done = 0
    with _opened(config, data_dir) as logs:
        with progress_bar(sum(each.size_bytes for each in logs), in_bytes=True) as show:
            for each in logs:
                for checked in each.check():
                    rows.append(checked)
                    done += checked.bytes
                    show(done, "")
                    if not is_terminal():
                        click.echo(msgspec.json.encode(checked))
        if is_terminal():
            _print_table(rows)
        quarantined = sum(len(each.quarantined) for each in logs)
    damaged = [row for row in rows if row.verdict == "damaged"]
    events, missing = sum(row.events for row in rows), sum(row.missing for row in rows)
    found = f"{len(damaged)} of {len(rows)} files damaged, {missing:,} events missing" if damaged else "all sound"
    click.echo(f"{len(rows)} files, {events:,} events: {found}", err=True)
    if quarantined:
        were = "part was" if quarantined == 1 else "parts were"
        click.echo(f"{quarantined} damaged {were} quarantined before, as *.corrupt beside the segments", err=True)
    sys.exit(NOT_ALL if damaged else 0)


@log.command()
@directory_flags
@click.option("--from-offset", "begin", type=click.IntRange(0), default=0, help="First offset, included.")
@click.option("--to-offset", "end", type=click.IntRange(0), help="Last offset, excluded.")
@click.option("--output", type=click.File("wb", lazy=True), help="File to write; default: standard output.")
def export(config: Path | None, data_dir: str | None, begin: int, end: int | None, output: IO[bytes] | None) -> None:
    """Write the events of the log as JSON lines, each an envelope, in order of offset.

    Exit code: 0 all written, 1 some are lost, 3 the directory is in use, has no log or cannot be read.
    """
    written = lost = done = 0
    to_terminal = output is None and is_terminal()
    target: IO[bytes] = output or sys.stdout.buffer
    with _opened(config, data_dir) as logs:
        if logs[0].name != "log":
            raise Fatal("the directory holds spools, but no log; name the directory of one spool with --data-dir")
        with progress_bar(0 if to_terminal else logs[0].size_bytes, in_bytes=True) as show:
            for lines in logs[0].lines(begin, end):
                if lines.lost:
                    click.echo(f"parsec: {lines.lost:,} events before offset {lines.first} are lost", err=True)
                for value in lines.values:
                    # An event must not control the terminal.
                    target.write((visible(value.decode(errors="replace")).encode() if to_terminal else value) + b"\n")
                written += len(lines.values)
                lost += lines.lost
                done += lines.size
                show(done, "")
        target.flush()
    click.echo(f"{written:,} events written" + (f", {lost:,} lost" if lost else ""), err=True)
    sys.exit(NOT_ALL if lost else 0)


@contextmanager
def _opened(config: Path | None, data_dir: str | None) -> "Iterator[Sequence[OfflineLog]]":
    """The logs under their locks. A log that cannot be read ends the command."""
    settings = load_or_exit(config, {"PARSEC_DATA_DIR": data_dir}).settings
    # Late: a server's imports take longer than `parsec log --help` may.
    from parsec.wiring.offline import offline_logs

    try:
        logs = offline_logs(settings)
        try:
            yield logs
        finally:
            for each in logs:
                each.close()
    except BrokenPipeError:
        raise  # the reader of our output has gone, which is no fault
    except (Fatal, Retryable, OSError) as error:
        fail(visible(str(error)), GAVE_UP)


def _print_table(rows: "Sequence[FileCheck]") -> None:
    numbers = ("first", "end", "events", "missing", "bytes")
    print_table(
        {"log": "long", "file": "long", "verdict": "text", **dict.fromkeys(numbers, "number"), "why": "long"},
        (
            (
                row.log,
                row.file,
                (row.verdict, _COLOURS[row.verdict]),
                *(f"{getattr(row, n):,}" for n in numbers),
                row.why,
            )
            for row in rows
        ),
    )
