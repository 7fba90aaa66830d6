"""Explains why a text is not JSON, and what to change.

In: the text of a value, and the error of the JSON decoder. Out: a clause for an error's message, with the text at the
byte. Errors: none. Next: parsec.ingest.body.slow_path.
"""

import re

_AT_BYTE = re.compile(r" \(byte (\d+)\)$")
_WORD = re.compile(rb"[-+]?[0-9A-Za-z_.]+")
_WORD_BYTES = frozenset(b"-+._0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_MAX_WORD_BYTES = 24
_SHOWN_BEFORE, _SHOWN_AFTER = 12, 28

_NO_NUMBER = frozenset({"nan", "inf", "infinity"})
_REPLACEMENTS = {"none": "null", "nil": "null", "undefined": "null", "null": "null", "true": "true", "false": "false"}


def why_no_json(text: bytes, error: Exception) -> str:
    """Such as "NaN is not a JSON number; send null or a string, at byte 12: '..."n":NaN}'"."""
    reason = str(error).removeprefix("JSON is malformed: ")
    found = _AT_BYTE.search(reason)
    if found is None:
        if what := _of_word(_word(text, 0)[1]):
            return f"{what}, in {_show(text, 0)}"
        return f"it ends before it is complete, or a bracket or quote is left open, in {_show(text, 0)}"
    at = int(found[1])
    start, word = _word(text, at)
    what = _of_word(word) or _of_byte(text[at : at + 1], reason[: found.start()])
    at = start if _of_word(word) else at
    return f"{what}, at byte {at}: {_show(text, at)}"


def _word(text: bytes, at: int) -> tuple[int, str]:
    """The word or number around a byte, and where it begins."""
    start = at
    while start > 0 and at - start < _MAX_WORD_BYTES and text[start - 1] in _WORD_BYTES:
        start -= 1
    word = _WORD.match(text, start, start + 2 * _MAX_WORD_BYTES)
    return start, word[0].decode() if word else ""


def _of_word(word: str) -> str | None:
    plain = word.lower().lstrip("+-")
    if plain in _NO_NUMBER:
        return f"{word} is not a JSON number; send null or a string"
    if plain in _REPLACEMENTS and word != _REPLACEMENTS[plain]:
        return f"{word} is not JSON; write {_REPLACEMENTS[plain]}"
    return None


def _of_byte(byte: bytes, reason: str) -> str:
    """A better explanation than the decoder's, for common mistakes."""
    if byte == b"'":
        return "a single quote; write double quotes"
    if "trailing comma" in reason:
        return "a comma before the closing bracket; remove it"
    if byte == b"/":
        return "a comment, which JSON does not allow"
    if reason == "object keys must be strings":
        return "a name without double quotes; add them"
    if reason == "invalid character" and byte and byte[0] < 0x20:
        return f"a control character; in a string write it as \\u{byte[0]:04x}, elsewhere remove it"
    if reason == "invalid number" or (reason == "invalid character" and byte in (b"+", b".")):
        return "an invalid number; leave out leading zeros and `+`, and write digits before and after a decimal point"
    return reason


def _show(text: bytes, at: int) -> str:
    before = max(0, at - _SHOWN_BEFORE)
    shown = text[before : at + _SHOWN_AFTER].decode("utf-8", "backslashreplace")
    return repr(f"{'...' if before else ''}{shown}")
