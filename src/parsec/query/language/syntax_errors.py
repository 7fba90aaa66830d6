"""What is wrong with an expression that the grammar refuses, in the words of who wrote it.

In: the expression, and where the parser stopped. Out: Rejected(invalid_query). Next: parsec.query.language.parse.
"""

from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from parsec.core.errors import Rejected
from parsec.query.language.ast import refused

_IN_RANGE = {"_TO", "CLOSE", "BOUND"}
"""What the grammar expects within a range, and nowhere else."""
_RANGE_ENDS = "the range ends early; it is [1 TO 5] or [1 TO *]."


def explain(text: str, error: UnexpectedInput) -> Rejected:
    """The first thing that does not fit, its column, and what to write instead."""
    ended = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    at = len(text.rstrip()) if ended else error.pos_in_stream or 0
    rest = text[at:]
    opened = _open_parenthesis(text[:at])
    expected = _expected(error)
    if ended and opened is not None and "_RPAR" in expected:
        return refused(opened + 1, "this parenthesis is never closed; add ) at the end, or quote it.")
    if ended:
        return refused(at + 1, _missing(text, expected))
    if rest[0] == ")":
        why = "this parenthesis closes nothing; remove or quote it." if opened is None else "nothing stands before it."
        return refused(at + 1, why)
    if rest[0] == '"':
        return refused(at + 1, _about_quote(rest))
    if rest[0] == ":":
        return refused(at + 1, "the name of a field is missing before the colon; quote a text that has one.")
    if rest[0] in "<>=":
        return refused(at + 1, "a comparison needs a field before it: metadata.latency_ms:>500.")
    word = rest.split(maxsplit=1)[0]
    if expected & _IN_RANGE or rest[0] in "[{":
        return refused(at + 1, _about_range(word, expected))
    if word in ("AND", "OR", "NOT", "TO"):
        return refused(at + 1, f'{word} joins nothing here; quote it to search for the word: "{word.lower()}".')
    if "(" in word or ")" in word:
        return refused(at + 1, f"white space belongs around parentheses; quote a text that has them: {_quoted(word)}.")
    return refused(at + 1, f"{word[:40]!r} does not fit here; quote it to search for it: {_quoted(word)}.")


def _missing(text: str, expected: set[str]) -> str:
    last = text.split()[-1] if text.split() else ""
    if expected & _IN_RANGE:
        return _RANGE_ENDS
    if last.endswith(":"):
        return f"the value of {last[:40]} is missing; {last[:40]}* finds any."
    return "something is missing at the end; remove what joins it, or go on."


def _about_range(word: str, expected: set[str]) -> str:
    if not expected & _IN_RANGE:
        return "a range needs a field before it: metadata.latency_ms:[1 TO 5]; quote other brackets."
    if word == "TO":
        return _RANGE_ENDS
    return "a range is [1 TO 5], {1 TO 5} without its limits, or [1 TO *]; quote other brackets."


def _about_quote(rest: str) -> str:
    closed = len(rest) > 1 and '"' in rest[1:].replace('\\"', "")
    if closed:
        return "white space belongs around quotes; a wildcard stands outside of them, with \\ before a space."
    return 'this quote is never closed; add " at the end, or write \\" for the character.'


def _open_parenthesis(text: str) -> int | None:
    """Where the last one stands that is still open, quotes left out."""
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
