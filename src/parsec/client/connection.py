"""One kept-alive HTTP connection to one Parsec, on the standard library's http.client.

In: method, path, body. Out: status, headers, body. Errors: Retryable when nothing or half an answer came back; the
request may then have been carried out or not.
"""

import http.client
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from parsec.core.errors import Retryable


class Response(msgspec.Struct, frozen=True):
    """A complete answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Address(msgspec.Struct, frozen=True):
    """Where a Parsec is. `prefix` stands before every path, for one behind a proxy; it does not end in a slash."""

    secure: bool
    host: str
    port: int
    authority: str
    prefix: str

    @property
    def url(self) -> str:
        return f"http{'s' * self.secure}://{self.authority}{self.prefix}"


def read_address(url: str) -> Address:
    """Raises ValueError when `url` is not an http or https address. A name and password in it are left out."""
    parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is not an address such as http://127.0.0.1:8080")
    secure = parts.scheme == "https"
    port = parts.port if parts.port is not None else 443 if secure else 80
    return Address(secure, parts.hostname, port, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"))


def retry_after_s(value: str) -> float:
    """The seconds of a Retry-After header; 0 without one, and for a date, which Parsec does not send."""
    return float(value) if value.strip().isdecimal() else 0.0


class _Stale(Exception):
    """The server had closed a kept connection before this request; a fresh one must be tried."""


class Connection:
    """Not for two threads at once."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """Raises ValueError when `url` is not an http or https address. Connects with the first request."""
        address = read_address(url)
        self.url = address.url
        self._prefix = address.prefix
        if address.secure:
            self._http: http.client.HTTPConnection = http.client.HTTPSConnection(
                address.host, address.port, timeout=timeout_s, context=ssl.create_default_context()
            )
        else:
            self._http = http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        """Raises Retryable; a kept connection that the server closed meanwhile is replaced without a word."""
        try:
            try:
                return self._exchange(method, path, body, headers)
            except _Stale:
                return self._exchange(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Retryable(f"{self.url}: {_in_words(error)}", after_s=0.0) from error

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        kept = self._http.sock is not None
        try:
            try:
                self._http.request(method, self._prefix + path, body, dict(headers))
            except (BrokenPipeError, ConnectionResetError):
                # A server that refuses a body closes before it has read it; its reason may lie in our buffer.
                if self._http.sock is None:
                    raise
            answer = self._http.getresponse()
            found = Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            self.close()
            if kept:
                raise _Stale from error
            raise
        return found

    def close(self) -> None:
        """Safe to call twice; a later request connects anew."""
        self._http.close()


def _in_words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed before an answer came"
    if isinstance(error, http.client.HTTPException):
        return f"the answer is not HTTP ({type(error).__name__})"
    return str(getattr(error, "strerror", None) or error)
