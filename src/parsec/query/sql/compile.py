"""Compile a syntax tree to a condition in SQL: the only meaning of a filter, in search, tail and statistics.

In: a Node. Out: an expression over table `events` that is 0 or 1, never NULL, so that NOT inverts it; values go into
Parameters. Errors: none. docs/query-language.md has the cost of each construct. Next: parsec.query.sql.columns.
"""

import re
from collections.abc import Callable

from parsec.query.language import ast, tokenizer
from parsec.query.language.fields import NUMBER_SPELLING, number
from parsec.query.sql.columns import BOOL, NUMBERS, STRING, Parameters, any_value, object_at, typed_value
from parsec.query.sql.words import WORDS

_NUMBER_PATTERN = NUMBER_SPELLING.replace("\\", "\\\\")
_WILDCARDS = re.compile(r"([%_\\])")
# The engine first looks for a text that each match must have, and takes that text from the pattern wrongly here: from
# \x41bc it takes 41bc. Of an alternative without any text it takes none, and leaves everything to RE2.
_MISREAD_REGEX = re.compile(r"\\[xpPQ0-9]|\[\^?\]|[^\x00-\x7f][*?{]|\(\?[A-Za-z-]+\)[*+?{]")
_NEVER = r"[^\s\S]|"


def condition(node: ast.Node, parameters: Parameters) -> str:
    """In parentheses, or a call, so that it may stand anywhere."""
    if isinstance(node, ast.Everything):
        return "1"
    if isinstance(node, ast.Match):
        return _match(node.field, node.test, parameters)
    if isinstance(node, ast.Not):
        return f"(NOT {condition(node.node, parameters)})"
    word = " AND " if isinstance(node, ast.AllOf) else " OR "
    return f"({word.join(condition(one, parameters) for one in node.nodes)})"


def _match(field: ast.Field, test: ast.Test, parameters: Parameters) -> str:
    if field.name == "metadata":
        return _in_metadata(field.path, test, parameters)
    if isinstance(test, ast.Phrase):
        return _phrase(test, parameters)
    if isinstance(test, ast.Exists):
        return f"({field.name} != '')" if field.name in ("region", "node") else "1"
    if isinstance(test, ast.OneOf):
        return f"({field.name} IN {parameters.bind(list(test.values), 'Array(String)')})" if test.values else "0"
    if isinstance(test, ast.Between) and field.name in ast.TIMES:
        return _within(field.name, test, lambda limit: parameters.timestamp(int(limit)))
    return _text(field.name, test, parameters)


def _text(column: str, test: ast.Test, parameters: Parameters) -> str:
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
    return _within(column, test, lambda limit: parameters.bind(str(limit)))


def _phrase(test: ast.Phrase, parameters: Parameters) -> str:
    """By the word index where it can decide, else by a regular expression on the rows that the index leaves."""
    if all(len(word) == 1 for word in test.words):
        found = [word[0] for word in test.words]
        if len(found) == 1:
            return f"hasAllTokens({WORDS}, {parameters.bind(found, 'Array(String)')})"
        return f"hasPhrase({WORDS}, {parameters.bind(' '.join(found))})"
    longest = max((part for word in test.words for part in word), key=len)
    narrowed = f"{WORDS} LIKE {parameters.bind(f'%{longest}%')}"
    if len(test.words) == 1 and not test.words[0][0] and not test.words[0][-1] and len(test.words[0]) == 3:
        return f"({narrowed})"
    return f"({narrowed} AND match({WORDS}, {parameters.bind(tokenizer.phrase_regex(test.words))}))"


def _in_metadata(path: str, test: ast.Test, parameters: Parameters) -> str:
    if isinstance(test, ast.Exists):
        found = f"isNotNull({any_value(path, parameters)})"
        return f"({found} OR notEmpty({object_at(path, parameters)}))"
    if isinstance(test, ast.Between):
        return _metadata_within(path, test, parameters)
    text = typed_value(path, STRING, parameters)
    texts = typed_value(path, _list_of(STRING), parameters)
    if isinstance(test, ast.Equal):
        choices = [_text(text, test, parameters), f"has({texts}, {parameters.bind(test.text)})"]
        value = number(test.text)
        if value is not None:
            wanted = parameters.number(value)
            choices += [f"{typed_value(path, kind, parameters)} = {wanted}" for kind in NUMBERS]
            choices += [
                f"arrayExists(x -> ifNull(x = {wanted}, 0), {typed_value(path, _list_of(kind), parameters)})"
                for kind in NUMBERS
            ]
        elif test.text in ("true", "false"):
            choices += [f"{typed_value(path, BOOL, parameters)} = {test.text}",
                        f"has({typed_value(path, _list_of(BOOL), parameters)}, {test.text})"]  # fmt: skip
    else:
        choices = [_text(text, test, parameters)]
        choices += [_text(f"toString({typed_value(path, kind, parameters)})", test, parameters) for kind in NUMBERS[:2]]
        choices.append(f"arrayExists(x -> ifNull({_text('x', test, parameters)}, 0), {texts})")
    return f"ifNull({' OR '.join(choices)}, 0)"


def _metadata_within(path: str, test: ast.Between, parameters: Parameters) -> str:
    text = typed_value(path, STRING, parameters)
    low_or_high = test.high if test.low is None else test.low
    if isinstance(low_or_high, str):
        return f"ifNull({_text(text, test, parameters)}, 0)"
    spelled = f"if(match({text}, '{_NUMBER_PATTERN}'), toFloat64OrNull({text}), NULL)"
    columns = [*(typed_value(path, kind, parameters) for kind in NUMBERS), spelled]
    choices = [
        _within(column, test, lambda limit: parameters.number(limit if isinstance(limit, int) else float(limit)))
        for column in columns
    ]
    return f"ifNull({' OR '.join(choices)}, 0)"


def _within(column: str, test: ast.Between, bound: Callable[[ast.Limit], str]) -> str:
    limits = []
    if test.low is not None:
        limits.append(f"{column} {'>=' if test.with_low else '>'} {bound(test.low)}")
    if test.high is not None:
        limits.append(f"{column} {'<=' if test.with_high else '<'} {bound(test.high)}")
    return f"({' AND '.join(limits)})"


def _like(parts: tuple[str, ...]) -> str:
    return "%".join(_WILDCARDS.sub(r"\\\1", part) for part in parts)


def _list_of(kind: str) -> str:
    return f"Array(Nullable({kind}))"
