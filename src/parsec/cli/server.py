"""The options by which a command finds and opens a Parsec elsewhere."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click
import msgspec

from parsec.cli.terminal import visible
from parsec.client import Client, Patience
from parsec.client.answers import Found
from parsec.core.errors import Rejected, Retryable

DEFAULT_URL = "http://127.0.0.1:8080"
NOT_ALL = 1
GAVE_UP = 3


def server_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--url`; the key comes from the environment only, so that it stands in no process list."""
    return click.option(
        "--url", envvar="PARSEC_URL", default=DEFAULT_URL, help=f"Parsec to talk to. [PARSEC_URL; {DEFAULT_URL}]"
    )(command)


def tenant_flag(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds `--tenant` with this help."""
    return click.option("--tenant", envvar="PARSEC_TENANT", help=f"{text} [PARSEC_TENANT]")


def api_key() -> str | None:
    """The bearer key of PARSEC_API_KEY, if any."""
    return os.environ.get("PARSEC_API_KEY") or None


def scope_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds EXPRESSION, `--url`, `--tenant`, `--from` and `--to`: which events."""
    for add in (
        click.option("--to", "end", help="Latest timestamp, excluded."),
        click.option("--from", "start", help="Earliest timestamp, included: RFC 3339, epoch, or the like of -2h."),
        tenant_flag("Whose events."),
        server_flags,
        click.argument("expression", required=False),
    ):
        command = add(command)
    return command


@contextmanager
def asking(url: str, timeout_s: float = 60.0) -> Iterator[Client]:
    """A client; what the server refuses or does not answer ends the command with one line."""
    with open_client(url, timeout_s) as client:
        try:
            yield client
        except Rejected as error:
            fail(visible(f"{error.message} ({error.code})"), NOT_ALL)
        except Retryable as error:
            fail(visible(str(error)), GAVE_UP)


def open_client(url: str, timeout_s: float, patience: Patience | None = None) -> Client:
    """A client, or wrong use when `url` is no address."""
    try:
        return Client(url, api_key=api_key(), timeout_s=timeout_s, patience=patience)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def warn_of_gaps(found: Found) -> None:
    """A partial answer may not look whole."""
    if found.missing:
        missing = visible(msgspec.json.encode(found.missing).decode())
        click.echo(f"parsec: this answer is not complete, missing: {missing}", err=True)


def fail(message: str, code: int) -> NoReturn:
    """Ends the command with one line on standard error."""
    click.echo(f"parsec: {message}", err=True)
    sys.exit(code)
