"""Tests of one text or number as SQL.

In: an expression, a test. Out: a condition, NULL where the expression is. Errors: none.
Next: parsec.query.sql.compile and parsec.query.sql.metadata.
"""

import re
from collections.abc import Callable

from parsec.query.language import ast
from parsec.query.sql.columns import Parameters

_WILDCARDS = re.compile(r"([%_\\])")
# The engine first looks for a text that each match must have, and takes that text from the pattern wrongly here: from
# \x41bc it takes 41bc. Of an alternative without any text it takes none, and leaves everything to RE2.
_MISREAD_REGEX = re.compile(r"\\[xpPQ0-9]|\[\^?\]|[^\x00-\x7f][*?{]|\(\?[A-Za-z-]+\)[*+?{]")
_NEVER = r"[^\s\S]|"


def text_test(column: str, test: ast.Test, parameters: Parameters) -> str:
    """A test of a text column, or of the texts of a value."""
    if isinstance(test, ast.Equal):
        return f"({column} = {parameters.bind(test.text)})"
    if isinstance(test, ast.Like):
        first, *rest = test.parts
        if rest == [""]:
            return f"startsWith({column}, {parameters.bind(first)})"
        return f"({column} LIKE {parameters.bind(_like(test.parts))})"
    if isinstance(test, ast.Matches):
        misread = _MISREAD_REGEX.search(test.pattern)
        return f"match({column}, {parameters.bind(_NEVER + test.pattern if misread else test.pattern)})"
    assert isinstance(test, ast.Between), "parsec.query.language.fields gives a text column no other test"
    return within(column, test, lambda limit: parameters.bind(str(limit)))


def within(column: str, test: ast.Between, bound: Callable[[ast.Limit], str]) -> str:
    limits = []
    if test.low is not None:
        limits.append(f"{column} {'>=' if test.with_low else '>'} {bound(test.low)}")
    if test.high is not None:
        limits.append(f"{column} {'<=' if test.with_high else '<'} {bound(test.high)}")
    return f"({' AND '.join(limits)})"


def _like(parts: tuple[str, ...]) -> str:
    return "%".join(_WILDCARDS.sub(r"\\\1", part) for part in parts)
