"""The options by which a command finds and opens a Parsec elsewhere."""

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from parsec.client import Client, Patience

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


def open_client(url: str, timeout_s: float, patience: Patience | None = None) -> Client:
    """A client, or wrong use when `url` is no address."""
    try:
        return Client(url, api_key=api_key(), timeout_s=timeout_s, patience=patience)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def fail(message: str, code: int) -> NoReturn:
    """Ends the command with one line on standard error."""
    click.echo(f"parsec: {message}", err=True)
    sys.exit(code)
