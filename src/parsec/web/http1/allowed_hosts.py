"""The values of `Host` that are allowed while requests without an API key are served.

In: the host of a request. Out: whether it is served. Errors: none. Next: parsec.web.http1.limits.

A web page may point its own host name at 127.0.0.1 (DNS rebinding). For the browser Parsec then has the origin of that
page, so neither CORS nor `Origin` protects it, but the browser still sends the page's name in `Host`. Numeric addresses
and `localhost` are not looked up in DNS, so they are safe, and a page does not know an API key.
"""

from collections.abc import Callable, Iterable, Sequence

from parsec.core.loopback import is_loopback

MAX_REMEMBERED = 256
_MAX_PORT = 65535
_CREDENTIALS = (b"authorization", b"x-api-key")


class AllowedHosts:
    """Used on the event loop. `names`: host names, `*.example.com` for those below one, `*` for any.

    `serves_keyless`: whether requests without a key are served; once false it stays so. `checks_keys`: whether a key
    that a request shows is checked.
    """

    def __init__(
        self, names: Iterable[str], serves_keyless: Callable[[], bool], checks_keys: Callable[[], bool]
    ) -> None:
        given = [name.strip().lower().rstrip(".") for name in names]
        self._any = "*" in given
        self._names = frozenset(given)
        self._parents = tuple(name[1:] for name in given if name.startswith("*."))
        self._serves_keyless = serves_keyless
        self._checks_keys = checks_keys
        self.remembered: set[bytes] = set()
        """Values of `Host` that were allowed before."""

    def allow(self, host: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """`host`: the header's value. The authority of an absolute `url` counts as well, because it takes precedence
        over the header (RFC 9112, 3.2.2)."""
        keyless = self._serves_keyless()
        if keyless and not (self._allows(host) and self._allows_target(url)):
            return self._checks_keys() and any(name in _CREDENTIALS for name, _ in headers)
        if len(self.remembered) >= MAX_REMEMBERED:
            self.remembered.clear()
        self.remembered.add(host)
        return True

    def _allows_target(self, url: bytes) -> bool:
        if url[:1] in (b"/", b"*"):
            return True
        authority = url.partition(b"://")[2] or url  # of CONNECT it is the whole
        for end in (b"/", b"?", b"#"):
            authority = authority.partition(end)[0]
        return self._allows(authority)

    def _allows(self, authority: bytes) -> bool:
        name = _name(authority.strip())
        if name is None:
            return False
        return (
            self._any or name == "localhost" or name in self._names or name.endswith(self._parents) or is_loopback(name)
        )


def _name(authority: bytes) -> str | None:
    """The host of `host:port` in lower case, without brackets and the dot of the root; None if it is invalid.

    `user@host` is invalid, and so are letters beyond ASCII, which browsers send as Punycode.
    """
    if not authority.isascii():
        return None
    text = authority.decode().lower()
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        if not closed or ":" not in host or (port and not port.startswith(":")):
            return None
        port = port[1:]
    elif text.count(":") > 1:  # an IPv6 address without its brackets
        host, port = text, ""
    else:
        host, _, port = text.partition(":")
    if port and not (port.isdecimal() and int(port[:6]) <= _MAX_PORT):
        return None
    host = host.removesuffix(".")
    return host if host and not set(host) & set("@/ \t,") else None
