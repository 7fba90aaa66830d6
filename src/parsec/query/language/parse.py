"""The text of a question to its tree.

In: an expression, or blanks for everything. Out: a Node. Errors: Rejected(invalid_query) that names the column and what
to write instead. The grammar is grammar.lark; names and values are judged by parsec.query.language.fields.
Next: parsec.query.language.ast.
"""

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput

from parsec.api.parameters import MAX_QUERY_CHARS
from parsec.query.language import fields
from parsec.query.language.ast import (
    MAX_DEPTH,
    MAX_TERMS,
    AllOf,
    AnyOf,
    Everything,
    Field,
    Match,
    Node,
    Not,
    Test,
    refused,
)
from parsec.query.language.syntax_errors import explain

_MESSAGE = Field("message")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PIECES = re.compile(r"\\(.)|(\*)|([^\\*]+)", re.DOTALL)


def parse(text: str) -> Node:
    """The tree of an expression; Everything of a blank one. Raises Rejected."""
    if len(text) > MAX_QUERY_CHARS:
        raise refused(MAX_QUERY_CHARS + 1, f"an expression has at most {MAX_QUERY_CHARS} characters.")
    if "\0" in text:
        raise refused(text.index("\0") + 1, "an expression holds no NUL.")
    try:
        return cast(Node, _parser().parse(text))
    except UnexpectedInput as error:
        raise explain(text, error) from error


Bind = Callable[[Field], Node]


class _Part(NamedTuple):
    """A part of the expression that waits for its field: a value in `field:(a OR b)` knows it only later."""

    bind: Bind
    depth: int
    terms: int
    column: int


@v_args(inline=True)
class _Builder(Transformer[Token, Node]):
    """Called by the parser for each rule, from the inside out, so that no depth of nesting is recursed into."""

    def start(self, part: _Part | None = None) -> Node:
        return part.bind(_MESSAGE) if part else Everything()

    def any(self, *parts: _Part) -> _Part:
        return _joined(parts, AnyOf)

    def all(self, *parts: _Part) -> _Part:
        return _joined(parts, AllOf)

    def negated(self, sign: Token, part: _Part) -> _Part:
        return _deeper(part, _column(sign), lambda field: Not(part.bind(field)))

    def group(self, sign: Token, part: _Part) -> _Part:
        return _deeper(part, _column(sign), part.bind)

    def clause(self, name: Token, part: _Part) -> _Part:
        column = _column(name)
        found = _judged(column, lambda: _field(str(name)))
        node = part.bind(found)
        return part._replace(bind=lambda _: node, column=column)

    def text(self, token: Token) -> _Part:
        _refuse_half_a_regex(token)
        parts = _parts(token)
        return _part(_column(token), lambda field: fields.text_test(field, parts))

    def regex(self, token: Token) -> _Part:
        pattern = token[1:-1].replace("\\/", "/")
        return _part(_column(token), lambda field: fields.regex_test(field, pattern))

    def comparison(self, sign: Token, value: Token) -> _Part:
        limit = _limit(value)
        if limit is None:
            raise refused(_column(value), "a comparison needs a value; write the field with * to find any.")
        if sign == "=":
            return _part(_column(sign), lambda field: fields.text_test(field, (limit,)))
        low, high = (limit, None) if sign[0] == ">" else (None, limit)
        inclusive = sign.endswith("=")
        return _part(
            _column(sign),
            lambda field: fields.range_test(field, low, high, with_low=inclusive, with_high=inclusive),
        )

    def range(self, opened: Token, low: Token, high: Token, closed: Token) -> _Part:
        limits = _limit(low), _limit(high)
        if limits == (None, None):
            raise refused(_column(opened), "a range needs at least one limit; write the field with * to find any.")
        return _part(
            _column(opened),
            lambda field: fields.range_test(field, *limits, with_low=opened == "[", with_high=closed == "]"),
        )


@cache
def _parser() -> Lark:
    grammar = files("parsec.query.language").joinpath("grammar.lark").read_text()
    return Lark(grammar, parser="lalr", lexer="contextual", transformer=_Builder(), maybe_placeholders=False)


def _part(column: int, test: Callable[[Field], Test]) -> _Part:
    return _Part(lambda field: Match(field, _judged(column, lambda: test(field))), 1, 1, column)


def _joined(parts: tuple[_Part, ...], kind: type[AnyOf] | type[AllOf]) -> _Part:
    first = parts[0]
    if len(parts) == 1:
        return first
    terms = sum(part.terms for part in parts)
    if terms > MAX_TERMS:
        raise refused(parts[-1].column, f"an expression has at most {MAX_TERMS} terms.")
    return _Part(
        lambda field: kind(tuple(part.bind(field) for part in parts)),
        max(part.depth for part in parts),
        terms,
        first.column,
    )


def _deeper(part: _Part, column: int, bind: Bind) -> _Part:
    if part.depth >= MAX_DEPTH:
        raise refused(column, f"an expression nests at most {MAX_DEPTH} deep.")
    return _Part(bind, part.depth + 1, part.terms, column)


def _judged(column: int, judge: Callable[[], Any]) -> Any:
    try:
        return judge()
    except ValueError as error:
        raise refused(column, str(error)) from error


def _field(written: str) -> Field:
    name = written[:-1]
    if not name.startswith(fields.METADATA):
        return fields.field(_plain(name))
    path = name.removeprefix(fields.METADATA)
    if not path:
        raise ValueError("name a value of the metadata: metadata.key:value.")
    return fields.metadata(_plain(path))


def _plain(name: str) -> str:
    """Without quotes and backslashes."""
    return _ESCAPED.sub(r"\1", re.sub(r'(\\.)|"', lambda found: found[1] or "", name, flags=re.DOTALL))


def _parts(token: Token) -> tuple[str, ...]:
    """The texts between the wildcards of a word; quotes have none."""
    if token.type == "QUOTED":
        return (_ESCAPED.sub(r"\1", token[1:-1]),)
    parts = [""]
    for escaped, star, plain in _PIECES.findall(token):
        if star:
            parts.append("")
        else:
            parts[-1] += escaped or plain
    return parts[0], *(part for part in parts[1:-1] if part), *parts[1:][-1:]


def _limit(token: Token) -> str | None:
    """A limit as written; None for the `*` of an open range."""
    open_end = token.type != "QUOTED" and str(token) == "*"
    return None if open_end else "*".join(_parts(token))


def _refuse_half_a_regex(token: Token) -> None:
    if len(token) > 2 and token[0] == token[-1] == "/":
        raise refused(
            _column(token), "a regular expression ends at its first slash; write \\/ for one inside, or quote the text."
        )


def _column(token: Token) -> int:
    return (token.start_pos or 0) + 1
