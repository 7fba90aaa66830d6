"""Ids for events that have none, so that a request sent again byte for byte is stored once.

In: a request's body or Idempotency-Key. Out: the prefix of its events' ids for each tenant; the event's index follows.
Errors: none. Next: parsec.ingest.normalize.
"""

import hashlib
from collections.abc import Iterator

import msgspec

from parsec.core.clock import Random

DIGEST_SLICE_BYTES = 1 << 20
"""About 0.6 ms of work."""


class EventIds(msgspec.Struct):
    """Of one request. `parameters`: those of its address that change its events. `derive` False: prefixes are random.

    `prefixes`: those made so far, by tenant.
    """

    body: bytes
    idempotency_key: str | None
    parameters: str
    derive: bool
    random: Random
    prefixes: dict[str, str] = {}
    digest: str = ""
    random_part: str = ""

    def prefix(self, tenant: str) -> str:
        """The same for the same body or Idempotency-Key."""
        if not self.derive:
            prefix = self.random_prefix()
        else:
            if self.idempotency_key:
                source = f"key\0{tenant}\0{self.idempotency_key}"
            else:
                self.digest = self.digest or hashlib.sha256(self.body).hexdigest()
                source = f"body\0{tenant}\0{self.digest}{self.parameters}"
            prefix = hashlib.sha256(source.encode()).hexdigest()[:32]
        self.prefixes[tenant] = prefix
        return prefix

    def random_prefix(self) -> str:
        """For an event that a retry cannot be recognised by: its timestamp is the time of receipt."""
        self.random_part = self.random_part or self.random.bytes(16).hex()
        return self.random_part

    def digest_in_slices(self) -> Iterator[None]:
        """The digest of a large body, so that other requests have a turn between the slices."""
        if self.derive and not self.idempotency_key and len(self.body) > DIGEST_SLICE_BYTES:
            digest, body = hashlib.sha256(), memoryview(self.body)
            for at in range(0, len(body), DIGEST_SLICE_BYTES):
                digest.update(body[at : at + DIGEST_SLICE_BYTES])
                yield
            self.digest = digest.hexdigest()
