"""`parsec audit`: does the store hold what the ledger says."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from parsec.cli.flags import load_or_exit
from parsec.cli.server import GAVE_UP, NOT_ALL, asking, fail, server_flags
from parsec.cli.terminal import Cell, is_terminal, print_table, visible
from parsec.client import Audit
from parsec.core.errors import ParsecError

DIFFERENCE = 4
ANSWER_S = 600.0
MOST_SHOWN = 10
_FATES = ("stored", "duplicate", "dead", "lost")


@click.command()
@server_flags
@click.option("--offline", is_flag=True, help="Recount a stopped Parsec's data directory, record by record of its log.")
@click.option("--data-dir", metavar="DIR", help="With --offline: the directory. [PARSEC_DATA_DIR; ./data]")
@click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="With --offline: as for `parsec serve`."
)
def audit(url: str, offline: bool, data_dir: str | None, config: Path | None) -> None:
    """Recount what became of every event, from the store, and compare that with the ledger.

    A table on a terminal, JSON in a pipe. Offsets whose events have left the store by age or by size are not recounted,
    and counted as such.

    Exit code: 0 no difference, 1 refused or nothing could be recounted, 3 no answer, or the directory is in use or
    cannot be read, 4 a difference.
    """
    if not offline:
        if data_dir or config:
            raise click.UsageError("--data-dir and --config go with --offline.")
        with asking(url, ANSWER_S) as client:
            found = client.audit()
    else:
        found = _offline(config, data_dir)
    if is_terminal():
        _print_table(found)
    else:
        click.echo(msgspec.json.encode(found))
    click.echo(_verdict(found), err=True)
    if found.difference:
        sys.exit(DIFFERENCE)
    sys.exit(0 if found.recounted or (found.partitions and not found.not_recounted) else NOT_ALL)


def _offline(config: Path | None, data_dir: str | None) -> Audit:
    settings = load_or_exit(config, {"PARSEC_DATA_DIR": data_dir}).settings
    # Late: what a server imports takes longer than `parsec audit --help` may.
    from parsec.wiring.offline import offline_audit

    try:
        return offline_audit(settings)
    except (ParsecError, OSError) as error:
        fail(visible(str(error)), GAVE_UP)


def _verdict(found: Audit) -> str:
    if not found.partitions:
        return "parsec: no partition has a ledger that could be recounted"
    said = [f"{found.recounted:,} offsets recounted"]
    if found.not_recounted:
        said.append(
            f"{found.not_recounted:,} can no longer be, for their events may have left the store by age or size"
        )
    said.append(f"a difference of {found.difference:,}" if found.difference else "no difference")
    lines = [", ".join(said)]
    for each in found.partitions:
        for at in each.where:
            signs = [f"{n:+,} {name}" for name, n in (("stored", at.stored), ("dead", at.dead)) if n]
            signs += [f"{n:,} {name}" for name, n in (("doubled", at.doubled), ("both stored and dead", at.both)) if n]
            which = f" ({', '.join(map(str, at.doubled_at))})" if at.doubled_at else ""
            lines.append(f"  partition {each.partition}, offsets {at.first} to {at.end - 1}: {', '.join(signs)}{which}")
        if each.unbalanced:
            lines.append(f"  partition {each.partition}: {each.unbalanced:+,} committed beyond the ledger's own counts")
        lines += [
            f"  partition {each.partition}, offset {one.offset}: missing, of {one.tenant_id or '-'}, id {one.id or '-'}"
            for one in each.missing[:MOST_SHOWN]
        ]
    return "\n".join(map(visible, lines))


def _print_table(found: Audit) -> None:
    numbers = ("from", "committed", *_FATES, "difference")
    rows: list[Sequence[Cell]] = []
    for each in found.partitions:
        place = (f"{each.recounted_from:,}", f"{each.committed:,}")
        ledger, counted = ([f"{getattr(fates, name):,}" for name in _FATES] for fates in (each.ledger, each.found))
        difference = (f"{each.difference:,}", "bold red" if each.difference else "green")
        rows += [(str(each.partition), "ledger", *place, *ledger, ""), ("", "found", "", "", *counted, difference)]
    if rows:
        print_table({"partition": "text", "": "text", **dict.fromkeys(numbers, "number")}, rows)
