"""The caller of a request: its tenant and its rights.

In: scopes of a key. Out: a Caller. Errors: Rejected(missing_scope). Next: parsec.web.auth.
"""

from collections.abc import Collection
from typing import Literal, get_args

import msgspec

from parsec.core.errors import Rejected

Right = Literal["ingest", "query", "admin"]
RIGHTS: tuple[Right, ...] = get_args(Right)
"""`ingest`: send events. `query`: read events. `admin`: read statistics and ledgers. None includes another."""


class Caller(msgspec.Struct, frozen=True):
    """`tenant` None: the caller may name any. `key`: the public name of the API key; '' without one."""

    rights: frozenset[Right]
    tenant: str | None = None
    key: str = ""

    def may(self, right: Right) -> bool:
        return right in self.rights

    def require(self, right: Right) -> None:
        """Raises Rejected(missing_scope)."""
        if right not in self.rights:
            raise Rejected("missing_scope", f"This needs an API key with the scope {right}.", status=403)


def rights(words: Collection[str]) -> frozenset[Right]:
    """Rights from the names of scopes. Raises ValueError with the valid names."""
    unknown = [word for word in words if word not in RIGHTS]
    if unknown or not words:
        raise ValueError(f"scopes must be any of {', '.join(RIGHTS)}")
    return frozenset(right for right in RIGHTS if right in words)


ANYONE = Caller(frozenset(RIGHTS))
"""Every caller while no API key is required."""

ANONYMOUS = Caller(frozenset())
"""A caller without an API key where one is required."""
