"""One kept-alive HTTP connection of a Client, on the standard library's http.client.

In: a path, and a body to POST. Out: status, headers and body of the response. Errors: Retryable when the response is
missing or incomplete; the server may have acted on the request or not. Next: parsec.client.retries.
"""

import http.client
import os
import socket
import ssl
from collections.abc import Generator, Mapping

import msgspec

from parsec.api.address import DEFAULT_URL, Address, parse_address
from parsec.core.errors import Retryable

JSON_HEADERS = {"Content-Type": "application/json"}
_CHUNK_BYTES = 1 << 16


class Response(msgspec.Struct, frozen=True):
    """A complete response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ConnectionOptions(msgspec.Struct, frozen=True):
    """A Parsec and how to connect to it. `timeout_s` bounds one wait for the socket; `tls` is None for plain HTTP."""

    address: Address
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None
    timeout_s: float


def connection_options(
    url: str | None, api_key: str | None, ca_file: str | None, timeout_s: float
) -> ConnectionOptions:
    """`url` and `api_key` default to PARSEC_URL and PARSEC_API_KEY; an empty key means none.

    Raises ValueError when `url` is no address or a header cannot hold the key, OSError when `ca_file` cannot be read.
    """
    address = parse_address((os.environ.get("PARSEC_URL") or DEFAULT_URL) if url is None else url)
    api_key = os.environ.get("PARSEC_API_KEY") if api_key is None else api_key
    if api_key and not (api_key.isascii() and api_key.isprintable()):
        raise ValueError("the API key is not valid; keys hold printable ASCII characters only")
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return ConnectionOptions(address, headers, address.tls_context(ca_file), timeout_s)


class _Stale(Exception):
    """The server had closed a kept connection before this request; try a fresh one."""


class Connection:
    """Connects with the first request. Not for two threads at once."""

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        host, port, timeout_s = options.address.host, options.address.port, options.timeout_s
        if options.tls is None:
            self._http = http.client.HTTPConnection(host, port, timeout=timeout_s)
        else:
            self._http = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=options.tls)

    def request(self, path: str, body: bytes | None = None) -> Response:
        """GET, or POST of a body. Raises Retryable; replaces a kept connection that the server has closed."""
        try:
            try:
                return self._exchange(path, body)
            except _Stale:
                return self._exchange(path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._retryable(error) from error

    def stream(self, path: str) -> Generator[bytes | Response, None, None]:
        """The head of a response without its body, then the body in pieces as they come; with a status other than 200
        one complete response instead. Raises Retryable when the connection breaks or falls silent.
        """
        try:
            self._send(path, None)
            with self._http.getresponse() as answer:
                found = Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, b"")
                if found.status != 200:
                    yield msgspec.structs.replace(found, body=answer.read())
                    return
                yield found
                while piece := answer.read1(_CHUNK_BYTES):
                    yield piece
        except (OSError, http.client.HTTPException) as error:
            raise self._retryable(error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Safe to call twice; a later request connects again."""
        self._http.close()

    def abandon(self) -> None:
        """In a child after a fork: closes its copy of the socket, which the parent goes on using."""
        if self._http.sock is not None:
            os.close(self._http.sock.detach())

    def _exchange(self, path: str, body: bytes | None) -> Response:
        kept = self._http.sock is not None
        try:
            try:
                self._send(path, body)
            except (BrokenPipeError, ConnectionResetError):
                # A server that refuses a body closes before it has read it; its reason may be in our buffer.
                if self._http.sock is None:
                    raise
            # A response that is left to the garbage collector closes itself there, which would swallow a Ctrl-C.
            with self._http.getresponse() as answer:
                return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            self.close()
            if kept:
                raise _Stale from error
            raise

    def _send(self, path: str, body: bytes | None) -> None:
        method, more = ("GET", {}) if body is None else ("POST", JSON_HEADERS)
        self._http.request(method, self._options.address.prefix + path, body, {**self._options.headers, **more})

    def _retryable(self, error: Exception) -> Retryable:
        return Retryable(f"{self._options.address.url}: {describe(error)}", after_s=0.0)


def describe(error: Exception) -> str:
    """A network error in words for a person, with the way out where there is one."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; check that Parsec runs there"
    if isinstance(error, socket.gaierror):
        return f"unknown host ({error.strerror}); check the URL"
    if isinstance(error, http.client.RemoteDisconnected):
        return "the connection was closed before an answer came"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection broke before the answer was complete"
    if isinstance(error, http.client.HTTPException):
        return f"the answer is not HTTP ({type(error).__name__}); check the address"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); name the ones to trust with PARSEC_CA_FILE"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "it does not speak TLS; use a URL that begins with http://"
    return str(getattr(error, "strerror", None) or error)
