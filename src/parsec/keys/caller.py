"""Who asks, and what for."""

from collections.abc import Collection
from typing import Literal, get_args

import msgspec

from parsec.core.errors import Rejected

Right = Literal["ingest", "query", "admin"]
RIGHTS: tuple[Right, ...] = get_args(Right)
"""`ingest`: send events; `query`: read them; `admin`: read the figures of the process. None includes another."""


class Caller(msgspec.Struct, frozen=True):
    """`tenant` None: may name any. `key`: the public name of the key; '' without keys."""

    rights: frozenset[Right]
    tenant: str | None = None
    key: str = ""

    def may(self, right: Right) -> bool:
        return right in self.rights

    def must(self, right: Right) -> None:
        """Raises Rejected(missing_scope)."""
        if right not in self.rights:
            raise Rejected("missing_scope", f"This takes an API key with the scope {right}.", status=403)


def rights(words: Collection[str]) -> frozenset[Right]:
    """Raises ValueError with what is allowed."""
    unknown = [word for word in words if word not in RIGHTS]
    if unknown or not words:
        raise ValueError(f"scopes are some of {', '.join(RIGHTS)}")
    return frozenset(right for right in RIGHTS if right in words)


ANYBODY = Caller(frozenset(RIGHTS))
"""Whoever reaches a Parsec without keys."""

NOBODY = Caller(frozenset())
"""Who shows no key where keys exist."""
