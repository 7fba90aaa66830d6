"""What a filter means, in plain Python: the tests compare the store's answers with it.

docs/query-language.md names the events on which they may differ.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import msgspec
import re2

from parsec.ports.store import Row
from parsec.query.language import ast, tokenizer
from parsec.query.language.fields import NUMBER_SPELLING, number
from parsec.query.language.letters import FOLDED, SEPARATORS, SINGLE

Predicate = Callable[["Subject"], bool]
Scalar = str | int | float | bool

_METADATA = msgspec.json.Decoder(dict[str, Any])


class Subject:
    """An event, and what several questions want to know of it, found out once."""

    def __init__(self, row: Row) -> None:
        self.row = row

    @cached_property
    def words(self) -> list[str]:
        return words_of(self.row.message)

    @cached_property
    def metadata(self) -> dict[str, list[Scalar]]:
        """Path to values, those of lists and of objects in lists among them; a list without any has none."""
        flat: dict[str, list[Scalar]] = {}
        lists: set[str] = set()
        for path, value in _METADATA.decode(self.row.metadata).items():
            _collect(flat, lists, path, value, listed=False)
        return {
            path: [_searchable(value, 1 << 53 if path in lists or len(values) > 1 else None) for value in values]
            for path, values in flat.items()
        }


def predicate(node: ast.Node) -> Predicate:
    """A function of one event; made once per question."""
    if isinstance(node, ast.Everything):
        return lambda _: True
    if isinstance(node, ast.Match):
        return _match(node.field, node.test)
    if isinstance(node, ast.Not):
        inner = predicate(node.node)
        return lambda subject: not inner(subject)
    parts = [predicate(one) for one in node.nodes]
    if isinstance(node, ast.AllOf):
        return lambda subject: all(part(subject) for part in parts)
    assert isinstance(node, ast.AnyOf)
    return lambda subject: any(part(subject) for part in parts)


def _match(field: ast.Field, test: ast.Test) -> Predicate:
    name = field.name
    if name == "metadata":
        return _in_metadata(field.path, test)
    if isinstance(test, ast.Phrase):
        return lambda subject: _found(test.words, subject.words)
    if isinstance(test, ast.Exists):
        return lambda subject: name == "message" or getattr(subject.row, name) != ""
    if isinstance(test, ast.Between):
        return lambda subject: _within(getattr(subject.row, name), test)
    holds = _text(test)
    return lambda subject: holds(getattr(subject.row, name))


def _text(test: ast.Test) -> Callable[[str], bool]:
    if isinstance(test, ast.Equal):
        return test.text.__eq__
    if isinstance(test, ast.OneOf):
        return frozenset(test.values).__contains__
    if isinstance(test, ast.Like):
        parts = test.parts
        return lambda text: tokenizer.matches_wildcards(parts, text)
    assert isinstance(test, ast.Matches), "parsec.query.language.fields gives a text no other test"
    options = re2.Options()
    options.dot_nl = True
    compiled = re2.compile(test.pattern, options)
    return lambda text: compiled.search(text) is not None


def _in_metadata(path: str, test: ast.Test) -> Predicate:
    if isinstance(test, ast.Exists):
        inside = path + "."
        return lambda subject: path in subject.metadata or any(map(_starts(inside), subject.metadata))
    holds: Callable[[Scalar], bool]
    if isinstance(test, ast.Between):
        holds = _between(test)
    else:
        holds = _equal(test.text) if isinstance(test, ast.Equal) else _spelled(_text(test))
    return lambda subject: any(map(holds, subject.metadata.get(path, ())))


def _equal(text: str) -> Callable[[Scalar], bool]:
    spelled = number(text)
    boolean = {"true": True, "false": False}.get(text)

    def holds(value: Scalar) -> bool:
        if isinstance(value, bool):
            return value is boolean
        return value == text or (isinstance(value, int | float) and value == spelled)

    return holds


def _spelled(holds: Callable[[str], bool]) -> Callable[[Scalar], bool]:
    """A number is also searched by its digits, as in status:5*."""

    def passes(value: Scalar) -> bool:
        if isinstance(value, float):
            return holds(repr(value).removesuffix(".0"))
        return not isinstance(value, bool) and holds(str(value))

    return passes


def _between(test: ast.Between) -> Callable[[Scalar], bool]:
    limit = test.high if test.low is None else test.low

    def holds(value: Scalar) -> bool:
        if isinstance(value, bool):
            return False
        if isinstance(limit, str):
            return isinstance(value, str) and _within(value, test)
        if isinstance(value, str):
            return re.fullmatch(NUMBER_SPELLING, value) is not None and _within(float(value), test)
        return _within(value, test)

    return holds


def _within(value: Any, test: ast.Between) -> bool:
    return _above(test.low, value, equal=test.with_low) and _above(value, test.high, equal=test.with_high)


def _above(low: ast.Limit | None, high: Any, *, equal: bool) -> bool:
    """Whether `high` lies above `low`; an absent one is no limit."""
    return low is None or high is None or low < high or (equal and low == high)


def _starts(start: str) -> Callable[[str], bool]:
    return lambda path: path.startswith(start)


def _collect(flat: dict[str, list[Scalar]], lists: set[str], path: str, value: Any, *, listed: bool) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _collect(flat, lists, f"{path}.{key}", inner, listed=listed)
    elif isinstance(value, list):
        flat.setdefault(path, [])
        for inner in value:
            _collect(flat, lists, path, inner, listed=True)
    elif value is not None:
        flat.setdefault(path, []).append(value)
        if listed:
            lists.add(path)


def _searchable(value: Scalar, largest: int | None) -> Scalar:
    """Whole numbers beyond 64 bits, or in lists beyond 2^53, are searched as texts."""
    if type(value) is not int:
        return value
    exact = abs(value) <= largest if largest is not None else -(1 << 63) <= value < 1 << 64
    return value if exact else str(value)


def words_of(message: str) -> list[str]:
    """One character after the other, without the regular expressions that the engine and the tokenizer share."""
    words: list[str] = []
    at, grows = 0, False
    while at < len(message):
        character = message[at]
        escape = _escape_length(message, at)
        if escape or _is_in(character, SEPARATORS) or (character.isascii() and not character.isalnum()):
            at, grows = at + max(escape, 1), False
            continue
        folded = character.lower() if character.isascii() else FOLDED.get(character, character)
        folded = "ss" if folded == "\u00df" else folded
        single = _is_in(character, SINGLE)
        if grows and not single:
            words[-1] += folded
        else:
            words.append(folded)
        at, grows = at + 1, not single
    return words


def _is_in(character: str, ranges: Sequence[tuple[int, int]]) -> bool:
    at = bisect_right(ranges, (ord(character), 0x110000)) - 1
    return at >= 0 and ord(character) <= ranges[at][1]


def _escape_length(message: str, at: int) -> int:
    """Of the terminal escape sequence that begins here; 0: none does."""
    start, second = message[at], message[at + 1 : at + 2]
    if start == "\x9b" or (start == "\x1b" and second == "["):
        end = _after(message, at + (1 if start == "\x9b" else 2), "0", "?")
        end = _after(message, end, " ", "/")
        return end + ("@" <= message[end : end + 1] <= "~") - at
    if start != "\x1b":
        return 0
    if second == "]":
        return _after(message, at + 2, "0", "9") - at
    end = _after(message, at + 1, " ", "/")
    return end + 1 - at if "0" <= message[end : end + 1] <= "~" else 1


def _after(text: str, at: int, first: str, last: str) -> int:
    while first <= text[at : at + 1] <= last:
        at += 1
    return at


def _found(words: Sequence[tuple[str, ...]], text: Sequence[str]) -> bool:
    """Whether the words of a phrase follow each other among those of a text."""
    starts = range(len(text) - len(words) + 1)
    return any(all(tokenizer.matches_wildcards(word, text[at + n]) for n, word in enumerate(words)) for at in starts)
