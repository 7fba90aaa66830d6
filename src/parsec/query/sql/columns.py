"""Fields as SQL: every value, and every path of metadata, travels as a bound parameter, never as text of the statement.

In: fields, values. Out: expressions over table `events`, and the parameters that they name. Errors: none; a Field holds
only names that parsec.query.language.fields let through. Next: parsec.ports.store.

The engine quotes the path itself (`{name:Identifier}`) and reads only the column of that path and type. `getSubcolumn`
takes any path as a value, but reads all types of it, three to four times as slow (decision 0005). It is left for the
few paths that an identifier cannot spell: quotes, backslashes, control characters, no character at all.
"""

import re
import struct

from parsec.query.language.ast import TIMES, Field

STRING, BOOL = "String", "Bool"
NUMBERS = ("Int64", "UInt64", "Float64")
"""One and the same number may lie in any of them, depending on what else its block held."""

Value = str | int | float | list[str]

_NO_IDENTIFIER = re.compile(r"['\\\x00-\x1f\x7f]|\A\Z")


class Parameters:
    """Values of one statement, each under a name of its own."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self.values: dict[str, Value] = {}

    def bind(self, value: Value, kind: str) -> str:
        """A placeholder for `value`; the same value of the same kind is sent once."""
        key = (kind, repr(value))
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"v{len(self._names)}"
            self.values[name] = value
        return f"{{{name}:{kind}}}"

    def text(self, value: str) -> str:
        return self.bind(value, STRING)

    def number(self, value: float) -> str:
        """Exactly this number: the engine reads the digits of a double less exactly than its bits."""
        if isinstance(value, float):
            (bits,) = struct.unpack("<Q", struct.pack("<d", value))
            return f"reinterpretAsFloat64({self.bind(bits, 'UInt64')})"
        return self.bind(value, "UInt64" if value >= 1 << 63 else "Int64")

    def moment(self, nanoseconds: int) -> str:
        return f"fromUnixTimestamp64Nano({self.bind(nanoseconds, 'Int64')}, 'UTC')"


def typed(path: str, kind: str, parameters: Parameters) -> str:
    """The value of this type at a path of metadata: NULL, or an empty array, where it has another type or is none."""
    if _NO_IDENTIFIER.search(path):
        return f"dynamicElement({anything(path, parameters)}, '{kind}')"
    return f"attributes.{parameters.bind(path, 'Identifier')}.:`{kind}`"


def anything(path: str, parameters: Parameters) -> str:
    """The value at a path, of whatever type; NULL where there is none."""
    if _NO_IDENTIFIER.search(path):
        return f"getSubcolumn(attributes, {parameters.text(path)})"
    return f"attributes.{parameters.bind(path, 'Identifier')}"


def below(path: str, parameters: Parameters) -> str:
    """The object at a path; empty where there is none."""
    return f"getSubcolumn(attributes, concat('^`', {parameters.text(path)}, '`'))"


def text_of(field: Field, parameters: Parameters) -> str:
    """The value as text, for grouping and listing; NULL where there is none. Lists come as the engine writes them,
    moments as in events."""
    if field.name == "metadata":
        return f"CAST({anything(field.path, parameters)}, 'Nullable(String)')"
    if field.name in TIMES:
        # Decimals are always there, so no zero of the seconds goes.
        return f"concat(replaceRegexpOne(replaceOne(toString({field.name}), ' ', 'T'), '[.]?0*$', ''), 'Z')"
    return field.name


def number_of(field: Field, parameters: Parameters) -> str:
    """The number at a path of metadata, as a double; NULL where there is none."""
    return "coalesce({})".format(
        ", ".join(f"toFloat64({typed(field.path, kind, parameters)})" for kind in reversed(NUMBERS))
    )
