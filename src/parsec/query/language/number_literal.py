"""Numbers as questions and metadata spell them. In: a text. Out: the number, or None. Errors: none."""

import math
import re

SPELLING = r"^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?$"
"""What counts as a number, in the words that Python's `re` and RE2 share."""

_NUMBER = re.compile(SPELLING[:-1] + r"\Z")
_INTEGERS = range(-(1 << 63), 1 << 64)


def number(text: str) -> int | float | None:
    """Exactly, for integers that the store can hold; else the nearest double. None: no number, or beyond a double."""
    if not _NUMBER.match(text):
        return None
    if text.lstrip("-").isdigit() and int(text) in _INTEGERS:
        return int(text)
    found = float(text)
    return found if math.isfinite(found) else None
