"""Refusals: answers to requests and connections that never reach a route.

Out: headers and body of an answer. The connection closes after each of them, because the end of a request that was not
understood or not read is unknown. Next: parsec.web.http1.close.
"""

from http import HTTPStatus

import msgspec

from parsec.api.problem import Problem
from parsec.web.cors import DATA_ONLY

# Limits of every client. No operator has a reason to change them; tests pass their own to ClientLimits.
HEAD_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 60.0
MIN_BYTES_PER_S = 256.0
"""Of a body, on average once 5 s have passed; and of an answer that the client reads."""
SEND_TIMEOUT_S = 30.0
"""How long a client may read more slowly than that."""
MAX_HEAD_BYTES = 32 << 10
MAX_URL_BYTES = 16 << 10
MAX_HEADERS = 100


class Refusal(msgspec.Struct, frozen=True):
    """`code` is also the label of `parsec_http_refused_total`."""

    code: str
    status: int
    detail: str
    retry_after_s: int | None = None

    def on_wire(self) -> bytes:
        """Headers and body."""
        body = msgspec.json.encode(Problem(self.status, HTTPStatus(self.status).phrase, self.detail, self.code))
        retry = b"" if self.retry_after_s is None else b"retry-after: %d\r\n" % self.retry_after_s
        return b"content-type: application/problem+json\r\ncontent-length: %d\r\n%b%bconnection: close\r\n\r\n%b" % (
            len(body),
            b"".join(b"%b: %b\r\n" % header for header in DATA_ONLY),
            retry,
            body,
        )


def malformed(why: str) -> Refusal:
    """A request that another server might parse differently, so it must not be guessed at."""
    return Refusal("malformed_request", 400, why)


NO_HOST = malformed("Send exactly one header Host.")
HOST_NOT_ALLOWED = Refusal(
    "host_not_allowed",
    421,
    "Without API keys Parsec serves only localhost, loopback addresses and the names in PARSEC_ALLOWED_HOSTS, and the "
    "header Host names another host. Use one of them, add the name to PARSEC_ALLOWED_HOSTS, or create an API key.",
)
TRANSFER_ENCODING = malformed("Transfer-Encoding may only be chunked, once, with HTTP/1.1.")
URL_TOO_LONG = Refusal("url_too_long", 414, f"The URL is longer than {MAX_URL_BYTES >> 10} KiB. Shorten it.")
HEAD_TOO_LARGE = Refusal(
    "head_too_large",
    431,
    f"The headers have more than {MAX_HEAD_BYTES >> 10} KiB, or there are more than {MAX_HEADERS}. Send fewer.",
)
HEAD_TOO_SLOW = Refusal("head_too_slow", 408, f"The request head was not complete within {HEAD_TIMEOUT_S:.0f} s.")
BODY_TOO_SLOW = Refusal(
    "body_too_slow",
    408,
    f"The body was not complete within {BODY_TIMEOUT_S:.0f} s, or came slower than {MIN_BYTES_PER_S:.0f} bytes/s. "
    "Send smaller requests, or check the network.",
)
HTTP_VERSION = Refusal("http_version", 505, "Parsec speaks only HTTP/1.1 and HTTP/1.0. Use one of them.")
EXPECTATION = Refusal("expectation_failed", 417, "The header Expect may only be 100-continue.")
TOO_MANY_PIPELINED = Refusal("too_many_pipelined", 429, "Wait for answers before you send more requests.", 1)
TOO_MANY_CONNECTIONS = Refusal("too_many_connections", 503, "Too many connections are open. Try again later.", 1)
TOO_MANY_OF_ADDRESS = Refusal(
    "too_many_connections_of_address", 429, "Too many connections from this address. Close some.", 1
)
REQUEST_RATE = Refusal(
    "too_many_requests_of_address", 429, "Too many requests from this address. Send them more slowly.", 1
)

EVICTED = "gave_way"
"""Counted when an idle connection is closed in favour of a new one."""
ANSWER_UNREAD = "answer_not_taken"
"""Counted when a client does not read its answers and is disconnected."""
