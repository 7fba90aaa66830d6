"""The options by which a command finds and opens a Parsec elsewhere."""

import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from parsec.api.address import DEFAULT_URL
from parsec.api.query import Completeness
from parsec.cli.terminal import cells, visible
from parsec.client import Client, RetryPolicy
from parsec.core.errors import Rejected, Retryable

NOT_ALL = 1
GAVE_UP = 3

_COLUMN = re.compile(r"Column ([0-9]+): ")
_SHOWN_AROUND = 60


def server_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--url` and `--profile`; the key is no option, so that it stands in no process list."""
    text = f"Parsec to talk to. [PARSEC_URL; {DEFAULT_URL}]"
    return click.option("--url", envvar="PARSEC_URL", default=lambda: chosen().url, help=text)(profile_flag(command))


def tenant_flag(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds `--tenant` with this help."""
    return click.option(
        "--tenant", envvar="PARSEC_TENANT", default=lambda: chosen().tenant, help=f"{text} [PARSEC_TENANT]"
    )


def api_key(url: str) -> str | None:
    """The bearer key of PARSEC_API_KEY, or of the profile. A profile's key goes to the profile's address only."""
    profile = chosen()
    return os.environ.get("PARSEC_API_KEY") or (profile.api_key if url == profile.url else None) or None


def ca_file() -> str | None:
    """The file of PARSEC_CA_FILE, or of the profile, with the certificates to trust; None: the system's."""
    return os.environ.get("PARSEC_CA_FILE") or chosen().ca_file


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
def asking(
    url: str, timeout_s: float = 60.0, expression: str | None = None, retry: RetryPolicy | None = None
) -> Iterator[Client]:
    """A client; what the server refuses or does not answer ends the command with one line.

    A mistake in `expression` is shown where it is, on two lines more.
    """
    with open_client(url, timeout_s, retry) as client:
        try:
            yield client
        except Rejected as error:
            told = visible(f"{error.message} ({error.code})")
            fail(told + _pointed(expression or "", error), NOT_ALL)
        except Retryable as error:
            fail(visible(str(error)), GAVE_UP)


def _pointed(expression: str, error: Rejected) -> str:
    """The expression with a caret below the column that the message names, or nothing."""
    named = _COLUMN.match(error.message)
    if error.code != "invalid_query" or named is None or not expression:
        return ""
    at = min(int(named[1]) - 1, len(expression))
    before, after = visible(expression[:at]), visible(expression[at:])
    before = before if len(before) <= _SHOWN_AROUND else "..." + before[-_SHOWN_AROUND:]
    after = after if len(after) <= _SHOWN_AROUND else after[:_SHOWN_AROUND] + "..."
    return f"\n  {before}{after}\n  {' ' * cells(before)}^"


def open_client(url: str, timeout_s: float, retry: RetryPolicy | None = None) -> Client:
    """A client, or wrong use when `url` is no address or the file of certificates is none."""
    try:
        return Client(url, api_key=api_key(url), timeout_s=timeout_s, retry=retry, ca_file=ca_file())
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from error


def warn_of_gaps(found: Completeness, told: set[str] | None = None) -> None:
    """A partial answer may not look whole. With `told`, which remembers them, each reason is said once."""
    for reason in found.missing:
        if told is None or reason not in told:
            click.echo(f"parsec: this answer is not complete: {visible(reason)}", err=True)
        if told is not None:
            told.add(reason)


def fail(message: str, code: int) -> NoReturn:
    """Ends the command with one line on standard error."""
    click.echo(f"parsec: {message}", err=True)
    sys.exit(code)


DEFAULT = "default"
_KEPT = "parsec.profile"
_OTHERS = 0o044


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of the file."""

    url: str = DEFAULT_URL
    api_key: str | None = None
    tenant: str | None = None
    ca_file: str | None = None


def profiles_path() -> Path:
    """Where the file is, or would be."""
    configured = os.environ.get("XDG_CONFIG_HOME", "")
    directory = Path(configured) if configured.startswith("/") else Path("~/.config").expanduser()
    return directory / "parsec" / "profiles.toml"


def profile_flag(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--profile`, read before all other options, so that their defaults may come from it."""
    return click.option(
        "--profile",
        envvar="PARSEC_PROFILE",
        is_eager=True,
        expose_value=False,
        callback=_keep,
        help="Table of profiles.toml to take address and key from. [PARSEC_PROFILE; default]",
    )(command)


def chosen() -> Profile:
    """The profile of the running command."""
    kept: Profile = click.get_current_context().meta.get(_KEPT, Profile())
    return kept


def _keep(ctx: click.Context, _: click.Parameter, name: str | None) -> None:
    if not ctx.resilient_parsing:
        ctx.meta[_KEPT] = _read(profiles_path(), name)


def _read(path: Path, name: str | None) -> Profile:
    try:
        with path.open("rb") as file:
            shared = os.fstat(file.fileno()).st_mode & _OTHERS
            profiles = msgspec.convert(tomllib.load(file), dict[str, Profile])
    except FileNotFoundError:
        profiles, shared = {}, 0
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise click.UsageError(visible(f"{path} cannot be read: {error}")) from error
    if name is not None and name not in profiles:
        known = f"; it has {', '.join(profiles)}" if profiles else ""
        raise click.UsageError(visible(f"{path} has no profile {name!r}{known}"))
    if shared and any(each.api_key for each in profiles.values()):
        click.echo(visible(f"parsec: others may read the keys in {path}: chmod 600"), err=True)
    return profiles.get(name or DEFAULT, Profile())
