"""Parse an expression of the query language.

In: an expression, or blanks for everything. Out: a Node. Errors: Rejected(invalid_query) with the column and what to
write instead. grammar.lark has the syntax; parsec.query.language.fields checks names and values.
Next: parsec.query.language.ast.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from unicodedata import normalize

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput

from parsec.api.parameters import MAX_QUERY_CHARS
from parsec.query.language import ast, fields
from parsec.query.language.syntax_errors import explain, syntax_error

_MESSAGE = ast.Field("message")
_FORMS: tuple[Literal["NFC"], Literal["NFD"]] = ("NFC", "NFD")
_SPECIAL = r"[\s\"\\*:()\[\]{}<>=/]"
"""What a backslash takes the meaning from. Before every other character it is itself, as in CORP\\jdoe."""
_ESCAPED_IN_QUOTES = re.compile(r'\\(["\\])')
_PIECES = re.compile(rf"\\({_SPECIAL})|(\*)|([^\\*]+|\\)")
_NAME_PIECES = re.compile(rf'\\({_SPECIAL})|"((?:[^"\\]|\\.)*)"', re.DOTALL)


def parse(text: str) -> ast.Node:
    """Raises Rejected."""
    if len(text) > MAX_QUERY_CHARS:
        why = f"an expression has at most {MAX_QUERY_CHARS} characters; shorten it."
        raise syntax_error(MAX_QUERY_CHARS + 1, why)
    if "\0" in text:
        raise syntax_error(text.index("\0") + 1, "an expression cannot contain NUL; remove it.")
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        raise explain(text, error) from error
    return _Builder().node(tree, _MESSAGE, 0) if tree.children else ast.Everything()


@cache
def _parser() -> Lark:
    grammar = files("parsec.query.language").joinpath("grammar.lark").read_text()
    return Lark(grammar, parser="lalr", lexer="contextual", maybe_placeholders=False)


class _Builder:
    """Makes nodes of the parser's tree, from the outside in, so that each term knows its field."""

    def __init__(self) -> None:
        self._terms = 0

    def node(self, tree: Tree[Token], field: ast.Field, depth: int) -> ast.Node:
        children: list[Any] = tree.children
        if tree.data in ("any", "all"):
            nodes = tuple(self.node(child, field, depth) for child in children)
            return ast.AnyOf(nodes) if tree.data == "any" else ast.AllOf(nodes)
        if tree.data == "clause":
            return self.node(children[1], _field(children[0]), depth)
        if tree.data in ("group", "negated"):
            if depth == ast.MAX_DEPTH:
                raise syntax_error(
                    _column(children[0]), f"an expression may be nested at most {ast.MAX_DEPTH} deep; simplify it."
                )
            node = self.node(children[1], field, depth + 1)
            return ast.Not(node) if tree.data == "negated" else node
        return self._term(tree.data, children, field)

    def _term(self, kind: str, tokens: list[Token], field: ast.Field) -> ast.Node:
        column = _column(tokens[0])
        self._terms += 1
        if self._terms > ast.MAX_TERMS:
            raise syntax_error(column, f"an expression has at most {ast.MAX_TERMS} terms; split it up.")
        try:
            test = _test(kind, tokens, field)
            if isinstance(test, ast.Phrase):
                return _any_composition(test, tokens[0], field)
            return ast.Match(field, test)
        except ValueError as error:
            raise syntax_error(column, str(error)) from error


def _any_composition(test: ast.Phrase, token: Token, field: ast.Field) -> ast.Node:
    """Letters with accents are stored as they were sent, as one character or as several: either is found."""
    tests = [test]
    for form in () if token.isascii() else _FORMS:
        other = fields.text_test(field, _parts(token.update(value=normalize(form, token))))
        tests += [other] if isinstance(other, ast.Phrase) and other not in tests else []
    nodes = tuple(ast.Match(field, each) for each in tests)
    return nodes[0] if len(nodes) == 1 else ast.AnyOf(nodes)


def _test(kind: str, tokens: list[Token], field: ast.Field) -> ast.Test:
    first = tokens[0]
    if kind == "text":
        if len(first) > 2 and first[0] == first[-1] == "/":
            raise ValueError(
                "a regular expression ends at its first slash; write \\/ for a slash in it, or quote the text."
            )
        if (wrong := fields.misplaced_operator(first)) and first.type == "WORD":
            raise ValueError(wrong)
        return fields.text_test(field, _parts(first))
    if kind == "regex":
        return fields.regex_test(field, first[1:-1].replace("\\/", "/"))
    if kind == "comparison":
        return _comparison(first, _limit(tokens[1]), field)
    low, high = _limit(tokens[1]), _limit(tokens[2])
    if low is None and high is None:
        raise ValueError("a range needs at least one limit; write the field with * to find any value.")
    return fields.range_test(field, low, high, with_low=first == "[", with_high=tokens[3] == "]")


def _comparison(sign: str, limit: str | None, field: ast.Field) -> ast.Test:
    if limit is None:
        raise ValueError("a comparison needs a value; write the field with * to find any value.")
    if sign == "=":
        return fields.text_test(field, (limit,))
    low, high = (limit, None) if sign[0] == ">" else (None, limit)
    inclusive = sign.endswith("=")
    return fields.range_test(field, low, high, with_low=inclusive, with_high=inclusive)


def _field(token: Token) -> ast.Field:
    name = token[:-1]
    try:
        if not name.startswith(fields.METADATA):
            if wrong := fields.misplaced_operator(f"{name}:..."):
                raise ValueError(wrong)
            return fields.parse_field(
                _unquoted(name), f' To search for a text with a colon, quote it: "{_unquoted(name)[:40]}: ...".'
            )
        path = name.removeprefix(fields.METADATA)
        if not path:
            raise ValueError("name a field of the metadata: metadata.key:value.")
        return fields.metadata_field(_unquoted(path))
    except ValueError as error:
        raise syntax_error(_column(token), str(error)) from error


def _unquoted(name: str) -> str:
    """Without quotes and backslashes."""
    return _NAME_PIECES.sub(lambda found: found[1] or _ESCAPED_IN_QUOTES.sub(r"\1", found[2]), name)


def _parts(token: Token) -> tuple[str, ...]:
    """The texts between the wildcards of a word; a quoted text has no wildcards."""
    if token.type == "QUOTED":
        return (_ESCAPED_IN_QUOTES.sub(r"\1", token[1:-1]),)
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


def _column(token: Token) -> int:
    return (token.start_pos or 0) + 1
