"""What a filter means, in plain Python: the tests compare the store's answers with it.

docs/query-language.md names the events on which they may differ.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import msgspec
import re2

from parsec.ports.store import Row
from parsec.query.language import ast, tokenizer
from parsec.query.language.fields import number
from parsec.query.language.letters import FOLDED, SEPARATORS, SINGLE

Predicate = Callable[["Subject"], bool]
Scalar = str | int | float | bool | list[Any]

_METADATA = msgspec.json.Decoder(dict[str, Any])


class Subject:
    """An event, and what several questions want to know of it, found out once."""

    def __init__(self, row: Row) -> None:
        self.row = row

    @cached_property
    def words(self) -> list[str]:
        return words_of(self.row.message)

    @cached_property
    def metadata(self) -> dict[str, Scalar]:
        """Path to value, as the store searches it: no nulls, of the same path twice the first."""
        flat: dict[str, Scalar] = {}
        for path, value in _flat(None, _METADATA.decode(self.row.search_text or self.row.metadata)):
            flat.setdefault(path, value)
        return flat


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
    if isinstance(test, ast.Between):
        return lambda subject: _value_within(subject.metadata.get(path), test)
    holds = _equal(test.text) if isinstance(test, ast.Equal) else _spelled(_text(test))

    def matches(subject: Subject) -> bool:
        value = subject.metadata.get(path)
        if isinstance(value, list):
            return any(map(holds, value))
        # A whole number is also searched by its digits, as in status:5*; within lists only texts are.
        return holds(value) or (type(value) is int and not isinstance(test, ast.Equal) and holds(str(value)))

    return matches


def _equal(text: str) -> Callable[[object], bool]:
    spelled = number(text)
    boolean = {"true": True, "false": False}.get(text)

    def holds(value: object) -> bool:
        if isinstance(value, bool):
            return value is boolean
        return value == text or (isinstance(value, int | float) and value == spelled)

    return holds


def _spelled(holds: Callable[[str], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and holds(value)


def _value_within(value: Scalar | None, test: ast.Between) -> bool:
    if value is None or isinstance(value, bool | list):
        return False
    limit = test.high if test.low is None else test.low
    if isinstance(limit, str):
        return isinstance(value, str) and _within(value, test)
    if isinstance(value, str):
        spelled = number(value)
        return spelled is not None and _within(float(spelled), test)
    return _within(value, test)


def _within(value: Any, test: ast.Between) -> bool:
    return _above(test.low, value, equal=test.with_low) and _above(value, test.high, equal=test.with_high)


def _above(low: ast.Limit | None, high: Any, *, equal: bool) -> bool:
    """Whether `high` lies above `low`; an absent one is no limit."""
    return low is None or high is None or low < high or (equal and low == high)


def _starts(start: str) -> Callable[[str], bool]:
    return lambda path: path.startswith(start)


def _flat(path: str | None, value: dict[str, Any]) -> Iterator[tuple[str, Scalar]]:
    for key, inner in value.items():
        place = key if path is None else f"{path}.{key}"
        if isinstance(inner, dict):
            yield from _flat(place, inner)
        elif inner is not None:
            yield place, inner


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
