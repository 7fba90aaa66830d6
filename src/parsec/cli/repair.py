"""`parsec repair`: store again from the log events that the store lacks.

In: a running Parsec, or its data directory. Out: how many events were stored again, and which could not be. Next:
parsec.client, and with --offline parsec.wiring.offline.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from parsec.cli.client_flags import open_client, server_flags
from parsec.cli.setting_flags import directory_flags, load_or_exit
from parsec.cli.terminal import GAVE_UP, NOT_ALL, counted, fail, is_terminal, print_json_lines, progress_bar, visible
from parsec.client import RepairStatus, StoreGap
from parsec.core.errors import ParsecError

REPAIR_TIMEOUT_S = 60.0
_POLL_S = 0.5


@click.command()
@server_flags
@click.option("--offline", is_flag=True, help="Repair the data directory of a stopped Parsec.")
@directory_flags
def repair(url: str, offline: bool, data_dir: str | None, config: Path | None) -> None:
    """Store again from the log events that the store lacks.

    Reads all parts of the store, detaches damaged ones, compares the store with the ledger, and stores again the
    missing events that are still in the log, each once. A start does the same, except for reading all parts. Shows
    progress on a terminal, and prints JSON lines in a pipe. --data-dir and --config need --offline; a running Parsec
    needs a key with the scope admin.

    Exit code: 0 nothing is missing now, 1 refused, or some events could not be restored, 3 no answer, or the
    directory is in use or unreadable.
    """
    if offline:
        steps = _offline(config, data_dir)
    elif data_dir or config:
        raise click.UsageError("--data-dir and --config need --offline.")
    else:
        steps = _online(url)
    last = _follow(steps)
    click.echo("\n".join(map(visible, _summary(last))), err=True)
    sys.exit(NOT_ALL if last.lost else 0)


def _online(url: str) -> Iterator[RepairStatus]:
    with open_client(url, REPAIR_TIMEOUT_S) as client:
        now = client.repair()
        yield now
        while now.phase != "idle":
            if now.problem is not None and now.phase == "waiting":  # else a step failed, and is repeated at once
                fail(visible(f"the store could not be compared: {now.problem}"), GAVE_UP)
            time.sleep(_POLL_S)
            now = client.repair_status()
            yield now


def _offline(config: Path | None, data_dir: str | None) -> Iterator[RepairStatus]:
    settings = load_or_exit(config, {"PARSEC_DATA_DIR": data_dir}).settings
    # Late: a server's imports take longer than `parsec repair --help` may.
    from parsec.wiring.offline import offline_repair

    try:
        yield from offline_repair(settings)
    except (ParsecError, OSError) as error:
        fail(visible(str(error)), GAVE_UP)


def _follow(steps: Iterator[RepairStatus]) -> RepairStatus:
    """Shows each step and returns the last one."""
    last = RepairStatus()
    with progress_bar(None) as show:
        for step in steps:
            if not is_terminal() and step != last:
                print_json_lines([step])
            last = step
            done = f"{step.stored_again:,} of {step.missing:,}, {step.per_second:,}/s" if step.missing else ""
            show(step.stored_again, f"{step.phase} {done}")
    return last


def _summary(last: RepairStatus) -> list[str]:
    lines = []
    if last.stored_again:
        lines.append(f"parsec: {counted(last.stored_again, 'event')} stored again from the log")
    if not last.lost:
        return [*lines, "parsec: nothing is missing from the store"]
    return [*lines, f"parsec: {counted(last.lost_events, 'event')} could not be restored:", *map(_place, last.lost)]


def _place(gap: StoreGap) -> str:
    dead = f" and {counted(gap.dead_letters, 'dead letter')}" if gap.dead_letters else ""
    received = f", received from {gap.received_from or '?'} until {gap.received_until or 'now'}"
    return f"  partition {gap.partition}, offsets {gap.first} to {gap.end - 1}: {gap.rows:,}{dead}{received}"
