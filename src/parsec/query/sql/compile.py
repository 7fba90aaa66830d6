"""Compile a syntax tree to a condition in SQL: the only meaning of a filter, in search, tail and statistics.

In: a Node. Out: an expression over table `events` that is 0 or 1, never NULL, so that NOT inverts it; values go into
Parameters. Errors: none. docs/query-language.md has the cost of each construct. Next: parsec.query.sql.columns.
"""

from parsec.query.language import ast, tokenizer
from parsec.query.sql.columns import Parameters
from parsec.query.sql.comparisons import text_test, within
from parsec.query.sql.metadata import in_metadata
from parsec.query.sql.words import WORDS


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
        return in_metadata(field.path, test, parameters)
    if isinstance(test, ast.Phrase):
        return _phrase(test, parameters)
    if isinstance(test, ast.Exists):
        return f"({field.name} != '')" if field.name in ("region", "node") else "1"
    if isinstance(test, ast.OneOf):
        return f"({field.name} IN {parameters.bind(list(test.values), 'Array(String)')})" if test.values else "0"
    if isinstance(test, ast.Between) and field.name in ast.TIMES:
        return within(field.name, test, lambda limit: parameters.timestamp(int(limit)))
    return text_test(field.name, test, parameters)


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
