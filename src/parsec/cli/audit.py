"""`parsec audit`: compare the store with the ledger. In: a running Parsec, or its data directory. Out: the differences.

Next: parsec.client, and with --offline parsec.wiring.offline.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from parsec.cli.client_flags import open_client, server_flags
from parsec.cli.setting_flags import directory_flags, load_or_exit
from parsec.cli.terminal import DIFFERENCE, GAVE_UP, NOT_ALL, Cell, fail, is_terminal, print_table, visible
from parsec.client import Audit
from parsec.core.counts import Counts
from parsec.core.errors import ParsecError

AUDIT_TIMEOUT_S = 600.0
SHOWN_MISSING = 10
_FATES = Counts.__struct_fields__


@click.command()
@server_flags
@click.option("--offline", is_flag=True, help="Recount the data directory of a stopped Parsec, record by record.")
@directory_flags
def audit(url: str, offline: bool, data_dir: str | None, config: Path | None) -> None:
    """Compare the store with the ledger.

    Recounts the fate of every event from the store. Prints a table on a terminal, JSON in a pipe. Offsets whose events
    have left the store by age or size cannot be recounted; the last line counts them. --data-dir and --config need
    --offline.

    Exit code: 0 no difference, 1 refused or nothing to recount, 3 no answer, or the directory is in use or unreadable,
    4 a difference.
    """
    if offline:
        found = _offline(config, data_dir)
    elif data_dir or config:
        raise click.UsageError("--data-dir and --config need --offline.")
    else:
        with open_client(url, AUDIT_TIMEOUT_S) as client:
            found = client.audit()
    if is_terminal():
        _print_table(found)
    else:
        click.echo(msgspec.json.encode(found))
    click.echo(_summary(found), err=True)
    if found.difference:
        sys.exit(DIFFERENCE)
    sys.exit(0 if found.recounted or (found.partitions and not found.not_recounted) else NOT_ALL)


def _offline(config: Path | None, data_dir: str | None) -> Audit:
    settings = load_or_exit(config, {"PARSEC_DATA_DIR": data_dir}).settings
    # Late: a server's imports take longer than `parsec audit --help` may.
    from parsec.wiring.offline import offline_audit

    try:
        return offline_audit(settings)
    except (ParsecError, OSError) as error:
        fail(visible(str(error)), GAVE_UP)


def _summary(found: Audit) -> str:
    spools = [
        f"  {each.spool}: {each.lost:,} acknowledged events lost before Kafka had them, at offsets "
        f"{', '.join(f'{span.first} to {span.end - 1}' for span in each.where[-SHOWN_MISSING:])}"
        for each in found.spools
    ]
    if not found.partitions:
        return "\n".join(map(visible, ["parsec: no partition has a ledger to recount", *spools]))
    parts = [f"{found.recounted:,} offsets recounted"]
    if found.not_recounted:
        parts.append(
            f"{found.not_recounted:,} not recounted, because their events may have left the store by age or size"
        )
    parts.append(f"a difference of {found.difference:,}" if found.difference else "no difference")
    lines = [", ".join(parts)]
    for each in found.partitions:
        for span in each.where:
            signs = [f"{n:+,} {name}" for name, n in (("stored", span.stored), ("dead", span.dead)) if n]
            surplus = (("doubled", span.doubled), ("both stored and dead", span.both))
            signs += [f"{n:,} {name}" for name, n in surplus if n]
            at = f" ({', '.join(map(str, span.doubled_at))})" if span.doubled_at else ""
            lines.append(
                f"  partition {each.partition}, offsets {span.first} to {span.end - 1}: {', '.join(signs)}{at}"
            )
        if each.unbalanced:
            lines.append(f"  partition {each.partition}: {each.unbalanced:+,} committed beyond the ledger's own counts")
        lines += [
            f"  partition {each.partition}, offset {one.offset}: missing, "
            f"tenant {one.tenant_id or 'unknown'}, id {one.id or 'unknown'}"
            for one in each.missing[:SHOWN_MISSING]
        ]
    return "\n".join(map(visible, [*lines, *spools]))


def _print_table(found: Audit) -> None:
    numbers = ("from", "committed", *_FATES, "difference")
    rows: list[Sequence[Cell]] = []
    for each in found.partitions:
        place = (f"{each.recounted_from:,}", f"{each.committed:,}")
        ledger, counted = ([f"{getattr(fates, name):,}" for name in _FATES] for fates in (each.ledger, each.found))
        difference = (f"{each.difference:,}", "bold red" if each.difference else "green")
        rows += [(str(each.partition), "ledger", *place, *ledger, ""), ("", "found", "", "", *counted, difference)]
    print_table({"partition": "text", "": "text", **dict.fromkeys(numbers, "number")}, rows)
