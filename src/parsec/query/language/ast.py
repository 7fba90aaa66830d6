"""The syntax tree of an expression: parsec.query.language.parse makes it, parsec.query.sql.compile reads it.

All names and values in a tree are checked already. Next: parsec.query.sql.compile.
"""

import msgspec

MAX_DEPTH = 50
MAX_TERMS = 100

FIXED = ("id", "timestamp", "received_at", "severity", "source", "message", "region", "node")
"""Fields of every event that an expression may name; the tenant is not among them, it comes from the API key."""
TIMES = ("timestamp", "received_at")


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
    """The regular expression, which RE2 has accepted, is found somewhere in the value."""

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
