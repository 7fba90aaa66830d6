"""What a question asks for, as a tree: parsec.query.language.parse makes it, compile and match read it.

All names are resolved and all values checked here already: whoever holds a tree can neither meet an unknown field nor a
broken expression. Next: parsec.query.sql.compile (the store), parsec.query.tail.match (live events).
"""

import msgspec

from parsec.core.errors import Rejected

MAX_DEPTH = 50
MAX_TERMS = 100

FIXED = ("id", "timestamp", "received_at", "severity", "source", "message", "region", "node")
"""Fields of every event that a question may name; the tenant is never among them, it comes from the key."""
TIMES = ("timestamp", "received_at")
"""Those that are moments."""


class Field(msgspec.Struct, frozen=True):
    """One of FIXED, or `metadata` with the path of a value in it (`user.id`: nested, or a literal dotted key)."""

    name: str
    path: str = ""

    def __str__(self) -> str:
        return f"metadata.{self.path}" if self.name == "metadata" else self.name


class Equal(msgspec.Struct, frozen=True, tag=True):
    """The value is this text; on metadata also the number or the boolean that this text spells."""

    text: str


class Like(msgspec.Struct, frozen=True, tag=True):
    """The value is `parts[0]`, anything, `parts[1]`, anything, ... `parts[-1]`; at least two parts."""

    parts: tuple[str, ...]


class Matches(msgspec.Struct, frozen=True, tag=True):
    """The regular expression, checked by parsec.query.language.regex, is found somewhere in the value."""

    pattern: str


class Phrase(msgspec.Struct, frozen=True, tag=True):
    """Words that follow each other in the message. A word of one part is whole, of more parts as in Like."""

    words: tuple[tuple[str, ...], ...]


class OneOf(msgspec.Struct, frozen=True, tag=True):
    """The value is one of these."""

    values: tuple[str, ...]


class Exists(msgspec.Struct, frozen=True, tag=True):
    """There is a value, or an object with one."""


Limit = int | float | str
"""A number compares with numbers, and on metadata with strings that spell one; a string with strings."""


class Between(msgspec.Struct, frozen=True, tag=True):
    """Within two limits of one kind, each of which may be absent; timestamps in nanoseconds since 1970."""

    low: Limit | None
    high: Limit | None
    with_low: bool = True
    with_high: bool = True


Test = Equal | Like | Matches | Phrase | OneOf | Exists | Between


class Everything(msgspec.Struct, frozen=True, tag=True):
    """All events."""


class Match(msgspec.Struct, frozen=True, tag=True):
    """A value of `field` passes `test`. An event without the field does not."""

    field: Field
    test: Test


class Not(msgspec.Struct, frozen=True, tag=True):
    node: "Node"


class AllOf(msgspec.Struct, frozen=True, tag=True):
    nodes: tuple["Node", ...]


class AnyOf(msgspec.Struct, frozen=True, tag=True):
    nodes: tuple["Node", ...]


Node = Everything | Match | Not | AllOf | AnyOf


def refused(column: int, why: str) -> Rejected:
    """The expression breaks a rule at `column`, counted in characters from 1."""
    return Rejected("invalid_query", f"Column {column}: {why}", field="q")
