"""`parsec deadletters`: the records that could not become rows, and why. In: a position or a range. Out: dead letters.

Next: parsec.client.
"""

import base64
import sys

import click

from parsec.cli.client_flags import open_client, server_flags, tenant_flag
from parsec.cli.terminal import counted, is_terminal, print_json_lines, print_table, visible
from parsec.client import DeadLetterSummary

_TENANT = "Tenant of the dead letters, or - for those without one; the default is the key's."


@click.group()
def deadletters() -> None:
    """Look at records that could not become rows of the store."""


@deadletters.command("list")
@server_flags
@tenant_flag(_TENANT)
@click.option("--from", "start", help="Earliest time, inclusive: RFC 3339, epoch, or as -2h. Default: no limit.")
@click.option("--to", "end", help="Latest time, exclusive.")
@click.option("--reason", help="Only those with this reason.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most dead letters to print.")
def list_(url: str, tenant: str | None, start: str | None, end: str | None, reason: str | None, limit: int) -> None:
    """List dead letters, newest first.

    Prints a table on a terminal, JSON lines in a pipe. Exit code: 0 answered (also with none), 1 refused, 3 no answer.
    """
    found: list[DeadLetterSummary] = []
    cursor: str | None = None
    with open_client(url) as client:
        for page in client.dead_letter_pages(tenant, start=start, end=end, reason=reason, limit=limit):
            found += page.dead_letters
            cursor = page.cursor
            if not is_terminal():
                print_json_lines(page.dead_letters)
    if is_terminal():
        print_table(
            {**dict.fromkeys(("time", "position", "reason", "stage"), "text"), "bytes": "number", "detail": "long"},
            ((one.time, one.position, one.reason, one.stage, f"{one.raw_bytes:,}", one.detail) for one in found),
        )
    more = "; there are more, see --limit" if cursor else ""
    click.echo(f"{counted(len(found), 'dead letter')}{more}", err=True)


@deadletters.command()
@click.argument("position")
@server_flags
@tenant_flag(_TENANT)
def show(position: str, url: str, tenant: str | None) -> None:
    """Print the bytes of the dead letter at POSITION (from `list`), and its reason on standard error.

    In a pipe the bytes come out exactly as they were. Exit code: 0 found, 1 not found or refused, 3 no answer.
    """
    with open_client(url) as client:
        letter = client.dead_letter(position, tenant)
    raw = base64.b64decode(letter.raw_base64) if letter.raw_base64 else (letter.raw or "").encode()
    click.echo(visible(f"{letter.time} {letter.reason} ({letter.stage}): {letter.detail}"), err=True)
    if is_terminal():
        click.echo(visible(raw.decode(errors="backslashreplace")))
    else:
        sys.stdout.buffer.write(raw)
