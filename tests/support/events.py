"""Envelopes for tests that do not care what is in them."""

from msgspec import Raw

from parsec.core.envelope import Envelope


def envelope(n: int = 0, tenant: str = "acme", message: str = "hello") -> Envelope:
    return Envelope(
        1, tenant, f"evt-{n}", "2026-11-23T12:00:00.123Z", "info", "api", message, Raw(b'{"n":%d}' % n),
        "2026-11-23T12:00:01.000000Z", "local", "node-1",
    )  # fmt: skip


def envelopes(count: int) -> list[Envelope]:
    return [envelope(n) for n in range(count)]
