"""The flags by which a command finds a Parsec, the profiles behind them, and a client whose errors end the command.

In: flags, environment and profiles.toml. Out: a Client. Errors: exit 1 when the server refuses, 2 for wrong use, 3 when
it does not answer. Next: parsec.client.client.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec

from parsec.api.address import DEFAULT_URL
from parsec.api.query import Completeness, RangeAnswer, found_nothing
from parsec.cli.terminal import GAVE_UP, NOT_ALL, cells, fail, visible
from parsec.client import Client, RetryPolicy
from parsec.core.errors import Rejected, Retryable

DEFAULT_PROFILE = "default"
_META_KEY = "parsec.profile"
_OTHERS_MAY_READ = 0o044
_COLUMN = re.compile(r"Column ([0-9]+): ")
_SHOWN_AROUND = 60
_FRACTION = re.compile(r"\.[0-9]+Z$")

Command = Callable[..., Any]


def server_flags(command: Command) -> Command:
    """Adds `--url` and `--profile`; there is no flag for the key, because other users see the flags of a process."""
    for add in (
        # Read before all other options, whose defaults come from it.
        click.option(
            "--profile",
            envvar="PARSEC_PROFILE",
            is_eager=True,
            expose_value=False,
            callback=_keep_profile,
            help="Profile in profiles.toml with URL and key. [PARSEC_PROFILE; default]",
        ),
        click.option(
            "--url",
            envvar="PARSEC_URL",
            default=lambda: profile().url,
            help=f"URL of Parsec. [PARSEC_URL; {DEFAULT_URL}]",
        ),
    ):
        command = add(command)
    return command


def api_key(url: str) -> str | None:
    """The key of PARSEC_API_KEY, or of the profile. A profile's key goes to the profile's address only."""
    chosen = profile()
    return os.environ.get("PARSEC_API_KEY") or (chosen.api_key if url == chosen.url else None) or None


def ca_file() -> str | None:
    """The file of certificates to trust, of PARSEC_CA_FILE or the profile; None: the system's."""
    return os.environ.get("PARSEC_CA_FILE") or profile().ca_file


def new_client(url: str, timeout_s: float, retry: RetryPolicy | None = None) -> Client:
    """Wrong use when `url` is no address or the file of certificates cannot be read."""
    try:
        return Client(url, api_key=api_key(url), timeout_s=timeout_s, retry=retry, ca_file=ca_file())
    except (ValueError, OSError) as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def open_client(
    url: str, timeout_s: float = 60.0, expression: str | None = None, retry: RetryPolicy | None = None
) -> Iterator[Client]:
    """A client; a refusal or a missing answer ends the command with one line.

    Two more lines show an error in `expression` at its place.
    """
    with new_client(url, timeout_s, retry) as client:
        try:
            yield client
        except Rejected as error:
            fail(visible(f"{error.message} ({error.code})") + _pointer(expression or "", error), NOT_ALL)
        except Retryable as error:
            fail(visible(str(error)), GAVE_UP)


def _pointer(expression: str, error: Rejected) -> str:
    """The expression with a caret below the column that the message names, or nothing."""
    named = _COLUMN.match(error.message)
    if error.code != "invalid_query" or named is None or not expression:
        return ""
    at = min(int(named[1]) - 1, len(expression))
    before, after = visible(expression[:at]), visible(expression[at:])
    before = before if len(before) <= _SHOWN_AROUND else "..." + before[-_SHOWN_AROUND:]
    after = after if len(after) <= _SHOWN_AROUND else after[:_SHOWN_AROUND] + "..."
    return f"\n  {before}{after}\n  {' ' * cells(before)}^"


def warn_if_incomplete(answer: Completeness, reported: set[str]) -> None:
    """One line on standard error for each reason that is not in `reported`, to which it is added."""
    for reason in answer.missing:
        if reason not in reported:
            click.echo(f"parsec: this answer is not complete: {visible(reason)}", err=True)
        reported.add(reason)


def searched_range(answer: RangeAnswer) -> str:
    """`from 2026-11-30T17:00:00Z to 2026-11-30T18:00:00Z`, in whole seconds."""
    start, end = (_FRACTION.sub("Z", visible(at)) for at in (answer.start, answer.end))
    return f"from {start} to {end}"


def explain_if_empty(answer: RangeAnswer) -> None:
    """If nothing was found, print the range that was searched and the tenant's latest event to standard error."""
    if not found_nothing(answer):
        return
    if answer.latest_event is None:
        where = "the tenant has no events at all"
    else:
        where = f"the tenant's latest event is from {visible(answer.latest_event)}"
        if not answer.start <= answer.latest_event < answer.end:
            where += ": change the range with --from and --to"
    click.echo(f"parsec: no events {searched_range(answer)}; {where}", err=True)


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table of profiles.toml."""

    url: str = DEFAULT_URL
    api_key: str | None = None
    tenant: str | None = None
    ca_file: str | None = None


def profile() -> Profile:
    """The profile of the running command."""
    kept: Profile = click.get_current_context().meta.get(_META_KEY, Profile())
    return kept


def _keep_profile(ctx: click.Context, _: click.Parameter, name: str | None) -> None:
    if not ctx.resilient_parsing:
        configured = os.environ.get("XDG_CONFIG_HOME", "")
        directory = Path(configured) if configured.startswith("/") else Path("~/.config").expanduser()
        ctx.meta[_META_KEY] = _read_profile(directory / "parsec" / "profiles.toml", name)


def _read_profile(path: Path, name: str | None) -> Profile:
    try:
        with path.open("rb") as file:
            readable = os.fstat(file.fileno()).st_mode & _OTHERS_MAY_READ
            profiles = msgspec.convert(tomllib.load(file), dict[str, Profile])
    except FileNotFoundError:
        profiles, readable = {}, 0
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise click.UsageError(visible(f"{path} cannot be read: {error}")) from error
    if name is not None and name not in profiles:
        known = f"; it has {', '.join(profiles)}" if profiles else ""
        raise click.UsageError(visible(f"{path} has no profile {name!r}{known}"))
    if readable and any(each.api_key for each in profiles.values()):
        click.echo(visible(f"parsec: other users can read the keys in {path}; run chmod 600 on it"), err=True)
    return profiles.get(name or DEFAULT_PROFILE, Profile())
