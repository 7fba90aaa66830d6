"""The URL of a running Parsec, in a file of its data directory, for commands that work on that directory.

In: the URL, once the listener is open. Out: `<data directory>/url`, until the process stops. Errors: none: whoever
reads it must not rely on it. Next: parsec.cli.keys.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NAME = "url"
_MAX_BYTES = 300
_ANY_ADDRESS = (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:"))


class UrlFile:
    """The part that writes and removes it. `url`: known once the listener is open."""

    name = "url-file"

    def __init__(self, data_dir: Path, url: Callable[[], str]) -> None:
        self._path = data_dir / NAME
        self._ask_url = url
        self._url = ""

    async def start(self) -> None:
        """A listener on all addresses is reached over loopback."""
        url = self._ask_url()
        for any_address, loopback in _ANY_ADDRESS:
            url = url.replace(any_address, loopback)
        self._url = url
        with suppress(OSError):
            if self._path.parent.is_dir():
                self._path.write_text(f"{url}\n")

    async def stop(self, _: float) -> None:
        """Leaves the file if it is another's by now."""
        if read_url(self._path.parent) == self._url:
            with suppress(OSError):
                self._path.unlink()


def read_url(data_dir: Path) -> str | None:
    """The URL of the Parsec that uses this directory, or of one that was killed; None: there is none."""
    try:
        with (data_dir / NAME).open() as file:
            return file.read(_MAX_BYTES).strip() or None
    except (OSError, UnicodeDecodeError):
        return None
