"""Whether a request's head can mean only one thing. What the parser (llhttp, strict) lets through is looked at here.

In: the version, the address and the headers, names in lower case. Out: None, or why it is refused. llhttp refuses by
itself: two lengths, a length beside chunks, folded lines, space before a colon, bare CR or LF, NUL, bad chunk sizes.
"""

from collections.abc import Sequence

from parsec.web.http1.refusals import (
    EXPECTATION,
    HEAD_TOO_LARGE,
    MAX_HEADERS,
    URL_TOO_LONG,
    VERSION,
    Refusal,
    malformed,
)

_LOOKED_AT = frozenset({b"host", b"transfer-encoding", b"expect"})
_NO_HOST = malformed("The header Host must be there once.")
_TRANSFER_ENCODING = malformed("The only Transfer-Encoding that is read is chunked, once, in HTTP/1.1.")

Headers = Sequence[tuple[bytes, bytes]]


def fault(version: str, url: bytes, headers: Headers, max_url_bytes: int) -> Refusal | None:
    """Called for every request, so it looks at each header once and at few of them closely."""
    if version not in ("1.1", "1.0"):
        return VERSION
    if len(url) > max_url_bytes:
        return URL_TOO_LONG
    if len(headers) > MAX_HEADERS:
        return HEAD_TOO_LARGE
    hosts = 0
    for name, _ in headers:
        if name in _LOOKED_AT:
            if name == b"host":
                hosts += 1
            else:
                return _fault_of_rare(version, headers)
    return None if hosts == 1 or (version == "1.0" and not hosts) else _NO_HOST


def _fault_of_rare(version: str, headers: Headers) -> Refusal | None:
    """The same for a request with one of the headers that few have."""
    given = {wanted: [value.strip().lower() for name, value in headers if name == wanted] for wanted in _LOOKED_AT}
    if given[b"transfer-encoding"] and (version == "1.0" or given[b"transfer-encoding"] != [b"chunked"]):
        return _TRANSFER_ENCODING
    if version == "1.1" and set(given[b"expect"]) - {b"100-continue"}:
        return EXPECTATION
    return None if len(given[b"host"]) == 1 or (version == "1.0" and not given[b"host"]) else _NO_HOST


def size_of(url: bytes, headers: Headers) -> int:
    """Bytes of a head as HTTP counts them, but for the request line's other parts."""
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
