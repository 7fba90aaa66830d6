"""Limits per tenant: how many events and bytes each may send. Made by the wiring from the settings.

Next: parsec.ingest.rate_limits.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from parsec.ingest.token_bucket import Rate

What = Literal["events", "bytes"]


class Allowance(msgspec.Struct, frozen=True):
    """What one tenant may send; None: as much as it likes."""

    events: Rate | None = None
    bytes: Rate | None = None

    def rates(self) -> Sequence[tuple[What, Rate | None]]:
        return ("events", self.events), ("bytes", self.bytes)


UNLIMITED = Allowance()


class Policy(msgspec.Struct, frozen=True):
    """The allowance of everybody, and of those who have one of their own."""

    default: Allowance = UNLIMITED
    tenants: Mapping[str, Allowance] = {}

    def of(self, tenant: str) -> Allowance:
        return self.tenants.get(tenant, self.default)

    @property
    def limits_nobody(self) -> bool:
        return all(one == UNLIMITED for one in (self.default, *self.tenants.values()))
