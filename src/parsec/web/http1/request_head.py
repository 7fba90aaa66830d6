"""Check a request head for ambiguity that the parser (llhttp, strict) accepts.

In: version, URL, headers with names in lower case. Out: None, or a Refusal. llhttp itself refuses two lengths, a length
with chunks, folded lines, space before a colon, bare CR or LF, NUL and bad chunk sizes.
"""

from collections.abc import Sequence

from parsec.web.http1.refusals import (
    EXPECTATION,
    HEAD_TOO_LARGE,
    HTTP_VERSION,
    MAX_HEADERS,
    URL_TOO_LONG,
    Refusal,
    malformed,
)

_CHECKED = frozenset({b"host", b"transfer-encoding", b"expect"})
_NO_HOST = malformed("Send exactly one header Host.")
_TRANSFER_ENCODING = malformed("Transfer-Encoding may only be chunked, once, with HTTP/1.1.")

Headers = Sequence[tuple[bytes, bytes]]


def fault(version: str, url: bytes, headers: Headers, max_url_bytes: int) -> Refusal | None:
    """Called for every request: passes over the headers once, and looks closely at few of them."""
    if version not in ("1.1", "1.0"):
        return HTTP_VERSION
    if len(url) > max_url_bytes:
        return URL_TOO_LONG
    if len(headers) > MAX_HEADERS:
        return HEAD_TOO_LARGE
    hosts = 0
    for name, _ in headers:
        if name in _CHECKED:
            if name == b"host":
                hosts += 1
            else:
                return _fault_of_rare(version, headers)
    return None if hosts == 1 or (version == "1.0" and not hosts) else _NO_HOST


def _fault_of_rare(version: str, headers: Headers) -> Refusal | None:
    """The slow path, for requests with a rare header."""
    given = {wanted: [value.strip().lower() for name, value in headers if name == wanted] for wanted in _CHECKED}
    if given[b"transfer-encoding"] and (version == "1.0" or given[b"transfer-encoding"] != [b"chunked"]):
        return _TRANSFER_ENCODING
    if version == "1.1" and set(given[b"expect"]) - {b"100-continue"}:
        return EXPECTATION
    return None if len(given[b"host"]) == 1 or (version == "1.0" and not given[b"host"]) else _NO_HOST


def size_of(url: bytes, headers: Headers) -> int:
    """Bytes of the URL and the header lines."""
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
