"""What a client is told whose request is refused before any route sees it, and the name under which that is counted.

Out: the bytes of an answer behind its status line. The connection ends after each of them: what comes behind a request
that was not understood, or not read, cannot be told from its rest.
"""

from http import HTTPStatus

import msgspec

from parsec.api.problem import Problem
from parsec.web.cors import DATA_ONLY


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
    """A request that another server may read otherwise than this one, so that it must not be guessed at."""
    return Refusal("malformed_request", 400, why)


URL_TOO_LONG = Refusal("url_too_long", 414, "The address is longer than PARSEC_MAX_URL_BYTES.")
HEAD_TOO_LARGE = Refusal("head_too_large", 431, "The headers are larger than PARSEC_MAX_HEAD_BYTES, or too many.")
HEAD_TOO_SLOW = Refusal("head_too_slow", 408, "The head of the request was not complete within PARSEC_HEAD_TIMEOUT.")
BODY_TOO_SLOW = Refusal("body_too_slow", 408, "The body came slower than PARSEC_MIN_RATE or PARSEC_BODY_TIMEOUT allow.")
VERSION = Refusal("http_version", 505, "Speak HTTP/1.1 or HTTP/1.0.")
EXPECTATION = Refusal("expectation_failed", 417, "The only expectation that can be met is 100-continue.")
TOO_MANY_PIPELINED = Refusal("too_many_pipelined", 429, "Wait for answers before you send more requests.", 1)
TOO_MANY_CONNECTIONS = Refusal("too_many_connections", 503, "Too many connections are open; come again.", 1)
TOO_MANY_OF_ADDRESS = Refusal("too_many_connections_of_address", 429, "Too many connections from this address.", 1)
REQUEST_RATE = Refusal("too_many_requests_of_address", 429, "Too many requests from this address.", 1)

GAVE_WAY = "gave_way"
"""Counted when a connection that waits is closed to make room for a new one."""
ANSWER_NOT_TAKEN = "answer_not_taken"
"""Counted when a connection is cut whose client does not read its answers."""
