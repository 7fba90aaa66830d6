"""`parsec deadletters`: the records that could not become rows, and why. In: a position or a range. Out: dead letters.

Next: parsec.client.
"""

import base64
import sys
from typing import Any

import click

from parsec.api import parameters
from parsec.cli.client_flags import open_client, server_flags
from parsec.cli.query_flags import query_flags
from parsec.cli.terminal import counted, is_terminal, print_json_lines, print_table, visible
from parsec.client import DeadLetterSummary


@click.group()
def deadletters() -> None:
    """List records that could not be stored, or print one."""


@deadletters.command("list")
@query_flags(parameters.DEAD_LETTERS, pages=True)
@server_flags
def list_(url: str, **asked: Any) -> None:
    """List dead letters, newest first.

    `--tenant -` lists those without a tenant. Prints a table on a terminal, JSON lines in a pipe.

    Exit code: 0 answered (also with none), 1 refused, 3 no answer.
    """
    found: list[DeadLetterSummary] = []
    cursor: str | None = None
    with open_client(url) as client:
        for page in client.dead_letter_pages(**asked):
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
@query_flags(parameters.DEAD_LETTER)
@server_flags
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
