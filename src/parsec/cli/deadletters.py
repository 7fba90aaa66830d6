"""`parsec deadletters`: what could not become a row, and why."""

import base64
import sys
from collections.abc import Sequence

import click
import msgspec

from parsec.cli.server import asking, server_flags, tenant_flag
from parsec.cli.terminal import is_terminal, print_table, visible
from parsec.client import DeadLetterSummary

_WHOSE = "Whose dead letters; - for those that do not tell."


@click.group()
def deadletters() -> None:
    """Look at records that could not become rows of the store."""


@deadletters.command("list")
@server_flags
@tenant_flag(_WHOSE)
@click.option("--from", "start", help="Given up since: RFC 3339, epoch, or the like of -2h. Default: all that is kept.")
@click.option("--to", "end", help="Given up before.")
@click.option("--reason", help="Only those given up for this reason.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Most letters to print.")
def list_(url: str, tenant: str | None, start: str | None, end: str | None, reason: str | None, limit: int) -> None:
    """List dead letters, newest first.

    A table on a terminal, JSON lines in a pipe. Exit code: 0 answered (also with none), 1 refused, 3 no answer.
    """
    found: list[DeadLetterSummary] = []
    cursor: str | None = None
    with asking(url) as client:
        for page in client.dead_letter_pages(tenant, start=start, end=end, reason=reason, limit=limit):
            found += page.dead_letters
            cursor = page.cursor
            if not is_terminal():
                click.echo(b"".join(msgspec.json.encode(each) + b"\n" for each in page.dead_letters), nl=False)
    if is_terminal():
        _print_table(found)
    more = "; there are more, see --limit" if cursor else ""
    click.echo(f"{len(found):,} dead letter{'' if len(found) == 1 else 's'}{more}", err=True)


@deadletters.command()
@click.argument("position")
@server_flags
@tenant_flag(_WHOSE)
def show(position: str, url: str, tenant: str | None) -> None:
    """Print the bytes of the dead letter at POSITION, as `list` names it; why it is one goes to standard error.

    In a pipe the bytes come out exactly as they were. Exit code: 0 found, 1 there is none or refused, 3 no answer.
    """
    with asking(url) as client:
        letter = client.dead_letter(position, tenant)
    raw = base64.b64decode(letter.raw_base64) if letter.raw_base64 else (letter.raw or "").encode()
    why = f"{letter.time} {letter.reason} ({letter.stage}): {letter.detail}"
    click.echo(visible(why), err=True)
    if is_terminal():
        click.echo(visible(raw.decode(errors="backslashreplace")))
    else:
        sys.stdout.buffer.write(raw)


def _print_table(letters: Sequence[DeadLetterSummary]) -> None:
    if letters:
        print_table(
            {
                "time": "text",
                "position": "text",
                "reason": "text",
                "stage": "text",
                "bytes": "number",
                "detail": "long",
            },
            ((one.time, one.position, one.reason, one.stage, f"{one.raw_bytes:,}", one.detail) for one in letters),
        )
