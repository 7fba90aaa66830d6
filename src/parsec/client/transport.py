"""One kept-alive HTTP connection to one Parsec, on the standard library's http.client.

In: method, path, body. Out: status, headers, body. Errors: Retryable when nothing or half an answer came back; the
request may then have been carried out or not.
"""

import http.client
import os
import ssl
from collections.abc import Generator, Mapping

import msgspec

from parsec.api.address import DEFAULT_URL, parse_address
from parsec.core.errors import Retryable

_CHUNK_BYTES = 1 << 16


class Response(msgspec.Struct, frozen=True):
    """A complete answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def url_and_headers(url: str | None, api_key: str | None) -> tuple[str, dict[str, str]]:
    """What is not given comes from PARSEC_URL and PARSEC_API_KEY; an empty key is none. Raises ValueError for one that
    no header can hold.
    """
    url = (os.environ.get("PARSEC_URL") or DEFAULT_URL) if url is None else url
    api_key = os.environ.get("PARSEC_API_KEY") if api_key is None else api_key
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        raise ValueError("an API key holds printable ASCII characters only")
    return url, {"Authorization": f"Bearer {api_key}"} if api_key else {}


class _Stale(Exception):
    """The server had closed a kept connection before this request; a fresh one must be tried."""


class Connection:
    """Not for two threads at once."""

    def __init__(self, url: str, *, timeout_s: float, ca_file: str | None = None) -> None:
        """Connects with the first request. Raises ValueError when `url` is not an http or https address, OSError when
        `ca_file` cannot be read.
        """
        address = parse_address(url)
        self.url = address.url
        self._prefix = address.prefix
        tls = address.tls_context(ca_file)
        if tls is None:
            self._http = http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
        else:
            self._http = http.client.HTTPSConnection(address.host, address.port, timeout=timeout_s, context=tls)

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        """Raises Retryable; a kept connection that the server closed meanwhile is replaced without a word."""
        try:
            try:
                return self._exchange(method, path, body, headers)
            except _Stale:
                return self._exchange(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Retryable(f"{self.url}: {in_words(error)}", after_s=0.0) from error

    def stream(self, path: str, headers: Mapping[str, str]) -> Generator[bytes | Response, None, None]:
        """The head of an answer without its body, then the body in pieces as they come; with a status other than 200
        one whole answer instead. Raises Retryable when it breaks or nothing comes in time; ends where the body ends.
        """
        try:
            self._http.request("GET", self._prefix + path, None, dict(headers))
            with self._http.getresponse() as answer:
                found = Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, b"")
                if found.status != 200:
                    yield msgspec.structs.replace(found, body=answer.read())
                    return
                yield found
                while piece := answer.read1(_CHUNK_BYTES):
                    yield piece
        except (OSError, http.client.HTTPException) as error:
            raise Retryable(f"{self.url}: {in_words(error)}", after_s=0.0) from error
        finally:
            self.close()

    def _exchange(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        kept = self._http.sock is not None
        try:
            try:
                self._http.request(method, self._prefix + path, body, dict(headers))
            except (BrokenPipeError, ConnectionResetError):
                # A server that refuses a body closes before it has read it; its reason may lie in our buffer.
                if self._http.sock is None:
                    raise
            # An answer that is left to the garbage collector closes itself there, where a Ctrl-C would be swallowed.
            with self._http.getresponse() as answer:
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

    def forget(self) -> None:
        """In a child after a fork: gives up its copy of the connection without a word to the server."""
        if self._http.sock is not None:
            os.close(self._http.sock.detach())


def in_words(error: Exception) -> str:
    """What broke, for a person."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed before an answer came"
    if isinstance(error, http.client.HTTPException):
        return f"the answer is not HTTP ({type(error).__name__})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); PARSEC_CA_FILE names those to trust"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "it does not speak TLS; is its address http://...?"
    return str(getattr(error, "strerror", None) or error)
