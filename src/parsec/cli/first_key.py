"""Ask before the first API key is created: from then on a running Parsec answers 401 to requests without a key.

In: the keys file, and the URL that a running Parsec left in its data directory. Out: the senders without a key in the
last minutes, and a question on standard error. Errors: exit 2 if the answer is no, or standard input is no terminal.
Next: parsec.client.
"""

import os
import socket
import sys
from pathlib import Path

import click

from parsec.api.address import parse_address
from parsec.api.status import KeylessAnswer
from parsec.cli.terminal import BAD_SETTINGS, counted, fail, visible
from parsec.client import Client
from parsec.core.errors import ParsecError
from parsec.keys.file import read
from parsec.settings import Settings

_TIMEOUT_S = 3.0
_SHOWN_SENDERS = 20


def confirm_first_key(path: Path, settings: Settings, *, yes: bool) -> None:
    """Returns if the key may be created. Raises KeysUnreadable."""
    if read(path):
        return
    url, found = _running(path, settings)
    if not url:
        return
    if found is not None and found.auth != "required":
        click.echo(f"parsec: {_why_nothing_changes(found)}", err=True)
        return
    click.echo(_warning(url, path, found), err=True)
    if yes:
        return
    if not can_ask():
        fail("nothing was created; add --yes to create the first key without a question", BAD_SETTINGS)
    if not click.confirm("Create the key?", err=True):
        fail("nothing was created", BAD_SETTINGS)


def _running(path: Path, settings: Settings) -> tuple[str, KeylessAnswer | None]:
    """The URL of the Parsec that uses this file, and its answer; '' if none is found."""
    # Late: only the first key needs it.
    from parsec.wiring.url_file import read_url

    url = read_url(Path(settings.data_dir))
    if url is not None and _is_listening(url):
        return url, _senders(url)
    # A Parsec with another data directory may use the file, too.
    url = os.environ.get("PARSEC_URL") or f"http://127.0.0.1:{settings.port}"
    found = _senders(url) if _is_listening(url) else None
    if found is None:
        return "", None
    if _is_same(Path(found.keys_file), path):
        return url, found
    click.echo(visible(_other_file(url, path, found.keys_file)), err=True)
    return "", None


def _other_file(url: str, path: Path, used: str) -> str:
    return (
        f"parsec: the Parsec at {url} uses the keys file {used}, so this key in {path.absolute()} changes nothing "
        "there. Name its directory with --data-dir, or its file with --keys-file, to create a key for it."
    )


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def can_ask() -> bool:
    """Whether a person can answer."""
    return sys.stdin.isatty()


def _is_listening(url: str) -> bool:
    try:
        address = parse_address(url)
        socket.create_connection((address.host, address.port), _TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True


def _senders(url: str) -> KeylessAnswer | None:
    """None: no answer, for example because its certificate is for another name."""
    try:
        with Client(url, timeout_s=_TIMEOUT_S) as client:
            return client.keyless()
    except (ParsecError, OSError, ValueError):
        return None


def _why_nothing_changes(found: KeylessAnswer) -> str:
    if found.auth == "warn":
        return "PARSEC_AUTH=warn: requests from this machine without a key are still served, logged and counted"
    return "PARSEC_AUTH=off: the running Parsec requires no keys"


def _warning(url: str, path: Path, found: KeylessAnswer | None) -> str:
    lines = [
        f"This is the first API key in {path}. Within a second the Parsec at {url} answers 401 to every request "
        "without a key."
    ]
    if found is None:
        lines.append("It does not tell which senders have none.")
    elif not found.requests:
        lines.append(f"It received no request without a key in the last {found.minutes} minutes.")
    else:
        lines.append(f"Senders without a key in the last {found.minutes} minutes:")
        lines += [
            f"  tenant {each.tenant or '(none)'}, from {each.address or 'unknown'}, "
            f"{each.user_agent or 'no User-Agent'}: {counted(each.requests, 'request')}"
            for each in found.senders[:_SHOWN_SENDERS]
        ]
        left = found.requests - sum(each.requests for each in found.senders[:_SHOWN_SENDERS])
        lines += [f"  and others: {counted(left, 'request')}"] if left > 0 else []
    lines.append("To keep serving those on this machine meanwhile, start Parsec with PARSEC_AUTH=warn first.")
    return "\n".join(map(visible, lines))
