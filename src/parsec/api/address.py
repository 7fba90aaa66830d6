"""The address of a Parsec, for its clients.

In: a URL as a person writes it. Out: an Address with host, port and path prefix. Errors: ValueError for anything that
is not an http or https address. Next: parsec.client.transport.
"""

import ssl
from urllib.parse import urlsplit

import msgspec

DEFAULT_URL = "http://127.0.0.1:8080"


class Address(msgspec.Struct, frozen=True):
    """`prefix` precedes every path, for a Parsec behind a proxy; it does not end in a slash."""

    secure: bool
    host: str
    port: int
    authority: str
    prefix: str

    @property
    def url(self) -> str:
        return f"http{'s' * self.secure}://{self.authority}{self.prefix}"

    def tls_context(self, ca_file: str | None) -> ssl.SSLContext | None:
        """None for plain HTTP. `ca_file` holds the certificates to trust instead of the system's. Raises OSError."""
        try:
            return ssl.create_default_context(cafile=ca_file) if self.secure else None
        except OSError as error:
            raise OSError(f"the certificates in {ca_file} cannot be read: {error.strerror or error}") from error


def parse_address(url: str) -> Address:
    """Raises ValueError when `url` is not an http or https address. Ignores a user name and password in it."""
    wrong = ValueError(f"{url!r} is not a URL; write one such as {DEFAULT_URL}")
    try:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise wrong
    secure = parts.scheme == "https"
    port = port if port is not None else 443 if secure else 80
    return Address(secure, parts.hostname, port, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"))
