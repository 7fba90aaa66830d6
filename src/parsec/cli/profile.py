"""Profiles: where other Parsecs are and with which key, in a file of the user's own.

In: `profiles.toml` below `$XDG_CONFIG_HOME/parsec` or `~/.config/parsec`, one table for each profile, with `url`,
`api_key`, `tenant` and `ca_file`, all optional. Out: the profile that `--profile` names, or `default`. Errors: wrong
use (exit 2) for a file that cannot be read and a name that is not there. A file with keys that others may read is
told on standard error.
"""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from parsec.cli.terminal import visible
from parsec.client.connection import DEFAULT_URL

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
