"""What may be written to a terminal: nothing that a log message could use to move the cursor or hide text."""

import json
import sys
import unicodedata

# Controls, format characters (bidirectional overrides, zero width), surrogates, private use, line separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def is_terminal() -> bool:
    """Whether a person sees standard output."""
    return sys.stdout.isatty()


def cells(text: str) -> int:
    """How many columns of a terminal `text` takes; `text` is visible."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def visible(text: str) -> str:
    """`text` with each character that would not be seen written as an escape: \\n, \\x1b, \\u202e."""
    if text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def visible_json(text: str) -> str:
    """The same for JSON that stays JSON: within its strings \\u escapes mean the characters themselves."""
    if text.isprintable():
        return text
    return "".join(json.dumps(c)[1:-1] if unicodedata.category(c) in _HIDDEN else c for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
