"""Explain a syntax error in the words of the query language.

In: the expression, and where the parser stopped. Out: Rejected(invalid_query). Next: parsec.query.language.parse.
"""

import re

from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from parsec.core.errors import Rejected
from parsec.query.language.ast import FIXED
from parsec.query.language.fields import METADATA, misplaced_operator

_RANGE_TERMINALS = {"_TO", "CLOSE", "BOUND"}
"""What the grammar expects within a range only."""
_NAME_BEFORE = re.compile(r"[\w.@-]+\s*[<>=!~]*\s*\Z")
_RANGE_ENDS = "the range ends early; write [1 TO 5] or [1 TO *]."


def syntax_error(column: int, why: str) -> Rejected:
    """`column`: counted in characters from 1."""
    return Rejected("invalid_query", f"Column {column}: {why}", field="q")


def explain(text: str, error: UnexpectedInput) -> Rejected:
    """The first part that does not fit, its column, and what to write instead."""
    expected = _expected(error)
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return _explain_end(text, expected)
    at = error.pos_in_stream or 0
    return syntax_error(at + 1, _why(text, at, expected))


def _explain_end(text: str, expected: set[str]) -> Rejected:
    opened = _open_parenthesis(text)
    if opened is not None and "_RPAR" in expected:
        return syntax_error(opened + 1, "this parenthesis is never closed; add ) at the end, or quote it.")
    words = text.split()
    last = words[-1][:40] if words else ""
    if expected & _RANGE_TERMINALS:
        why = _RANGE_ENDS
    elif last.endswith(":") and last != ":":
        why = _about_missing_value(last)
    else:
        why = "something is missing at the end; remove the last operator, or add a term."
    return syntax_error(len(text.rstrip()) + 1, why)


def _about_missing_value(name: str) -> str:
    """`name` ends with its colon."""
    quote = f"to search for the text, quote it: {_quoted(name)}"
    if name[:-1] in FIXED or name.startswith(METADATA):
        return f"the value of {name} is missing; {name}* finds any value; {quote}."
    return f"{name[:-1]!r} is no field, and its value is missing; {quote}."


def _why(text: str, at: int, expected: set[str]) -> str:
    rest = text[at:]
    word = rest.split(maxsplit=1)[0]
    before = _NAME_BEFORE.search(text, 0, at)
    wrong = misplaced_operator(rest) or (before and misplaced_operator(text[before.start() :]))
    if wrong:
        return wrong
    if text[:at].rstrip().endswith(":") and (rest[0] == ")" or word in ("AND", "OR")):
        return _about_missing_value(text[:at].split()[-1].lstrip("("))
    if rest[0] == ")":
        return _about_parenthesis(text[:at])
    match rest[0]:
        case '"':
            return _about_quote(rest)
        case ":":
            return "the name of a field is missing before the colon; quote a text that contains a colon."
        case "<" | ">" | "=":
            return "a comparison needs a field before it: metadata.latency_ms:>500."
    return _about_word(rest, word, expected)


def _about_word(rest: str, word: str, expected: set[str]) -> str:
    if expected & _RANGE_TERMINALS:
        return _RANGE_ENDS if word == "TO" else "write a range as [1 TO 5], {1 TO 5} without its limits, or [1 TO *]."
    if rest[0] in "[{":
        return "a range needs a field before it: metadata.latency_ms:[1 TO 5]; quote other brackets."
    if word in ("AND", "OR", "NOT", "TO"):
        return f'a term is missing next to {word}; to search for the word, quote it: "{word.lower()}".'
    if "(" in word or ")" in word:
        return f"put white space around parentheses, or quote a text that contains them: {_quoted(word)}."
    return f"{word[:40]!r} does not fit here; to search for it, quote it: {_quoted(word)}."


def _about_parenthesis(before: str) -> str:
    if _open_parenthesis(before) is None:
        return "this parenthesis closes nothing; remove or quote it."
    return "a term is missing before this parenthesis; add one, or quote the parenthesis."


def _about_quote(rest: str) -> str:
    if rest.endswith('\\"') and not rest.endswith('\\\\"') and rest.count('"') == 2:
        return 'a backslash before the last quote makes it part of the text; for a backslash at the end write \\\\".'
    if '"' in rest[1:].replace('\\"', ""):
        return "put white space around quotes; a wildcard goes outside of them, with \\ before a space."
    return 'this quote is never closed; add " at the end, or write \\" for the character.'


def _open_parenthesis(text: str) -> int | None:
    """The place of the last parenthesis that is still open, quotes left out."""
    opened: list[int] = []
    quoted = escaped = False
    for at, character in enumerate(text):
        if escaped or character == "\\":
            escaped = not escaped
        elif character == '"':
            quoted = not quoted
        elif not quoted and character == "(":
            opened.append(at)
        elif not quoted and character == ")" and opened:
            opened.pop()
    return opened[-1] if opened else None


def _expected(error: UnexpectedInput) -> set[str]:
    if isinstance(error, UnexpectedCharacters):
        return set(error.allowed or ())
    return set(error.accepts or error.expected) if isinstance(error, UnexpectedToken) else set()


def _quoted(word: str) -> str:
    escaped = word[:40].replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
