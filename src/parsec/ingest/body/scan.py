"""The end of a JSON value and the names in an object, found by brackets and strings alone.

In: any bytes. Out: positions. Errors: none; nothing is validated and nothing recurses, so 100,000 brackets are as
harmless as ten. Time is linear in the bytes read. For bodies of unusual shape. Next: parsec.ingest.body.decode.
"""

import re
from collections.abc import Generator
from typing import TypeVar, cast

from parsec.api.event_rules import BRACKETS

T = TypeVar("T")

WHITESPACE = b" \t\r\n"

_BLANK = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR = re.compile(rb'[^ \t\r\n,:{}\[\]"]++')
_NAME = re.compile(rb'[ \t\r\n]*+"(?:[^"\\]++|\\.)*+"[ \t\r\n]*+:[ \t\r\n]*+', re.DOTALL)
_LINE_OF_JSON = re.compile(rb"\n(?=[{\[])")
_OPENING = frozenset((b"{", b"["))
_OPENING_BYTES = b"{["

MAX_RUNS = 1_000_000
"""Runs of brackets that are read to find the end of one value: a fifth of a second. Only an attack has more."""


def skip_blank(body: bytes, at: int, end: int) -> int:
    """The first position from `at` that holds no white space; `end` if there is none."""
    found = _BLANK.match(body, at, end)
    return found.end() if found else at


def next_object(body: bytes, at: int, end: int) -> int:
    """Where the next line after `at` begins that begins with an object or array; `end` if there is none."""
    found = _LINE_OF_JSON.search(body, at, end)
    return found.end() if found else end


def value_end(body: bytes, at: int, end: int) -> int | None:
    """The position after the value that starts at `at`; None when it does not end within MAX_RUNS, or when no
    value starts there."""
    return _answer(ending(body, at, end, MAX_RUNS))


def ending(body: bytes, at: int, end: int, runs: int) -> Generator[None, None, int | None]:
    """The same with a turn for others after each so many runs of brackets."""
    first = body[at : at + 1]
    if first not in _OPENING:
        found = _STRING.match(body, at, end) if first == b'"' else _SCALAR.match(body, at, end)
        return found.end() if found else None
    depth = 0
    for count in range(1, MAX_RUNS + 1):
        found = BRACKETS.match(body, at, end)
        if found is None:
            return None
        start, at = found.span(1)
        if body[start] in _OPENING_BYTES:
            depth += at - start
        elif at - start < depth:
            depth -= at - start
        else:
            return start + depth
        if count % runs == 0:
            yield
    return None


def has_more_keys(text: bytes, limit: int) -> bool:
    """Whether the object in `text` has more than `limit` keys at its top level; stops reading at the first above."""
    return _answer(more_keys(text, limit, MAX_RUNS))


def more_keys(text: bytes, limit: int, runs: int) -> Generator[None, None, bool]:
    """The same with a turn for others after each so many keys, or runs of brackets."""
    at = skip_blank(text, 0, len(text))
    for count in range(1, limit + 1):
        name = _NAME.match(text, at + 1)
        if name is None:
            return False  # the end, or not JSON
        stop = yield from ending(text, name.end(), len(text), runs)
        if stop is None:
            return False
        at = skip_blank(text, stop, len(text))
        if text[at : at + 1] != b",":
            return False
        if count % runs == 0:
            yield
    return True


def name_at(text: bytes, at: int, limit: int) -> bytes | None:
    """The name, as it is written, of the field in which byte `at` of the object in `text` is, in name or value; None
    where brackets and quotes do not tell, or behind `limit` fields."""
    place = skip_blank(text, 0, len(text))
    for _ in range(limit):
        name = _NAME.match(text, place + 1)
        stop = value_end(text, name.end(), len(text)) if name else None
        if name is None or stop is None:
            return None
        if at < stop:
            return name[0].strip(WHITESPACE + b":")[1:-1]
        place = skip_blank(text, stop, len(text))
        if text[place : place + 1] != b",":
            return None
    return None


def _answer(search: Generator[None, None, T]) -> T:
    """Of a search in one go."""
    while True:
        try:
            next(search)
        except StopIteration as end:
            return cast("T", end.value)
