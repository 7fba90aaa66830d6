"""Split texts into the words of a message, as the store's tokenizer `splitByNonAlpha` does.

In: the text of a term, split at its wildcards. Out: the words of a phrase. Errors: none. A word is a run of ASCII
letters, digits and characters beyond ASCII; every other character separates words. The word index folds ASCII letters
only, so words with other letters are compared by a regular expression with `(?i)`, without the index.
Next: parsec.query.sql.compile.
"""

import re
from collections.abc import Iterator, Sequence

Word = tuple[str, ...]
"""A word, split at its wildcards: `("time", "")` is every word that begins with `time`."""

ANY: Word = ("", "")

_WORD = re.compile(r"[0-9A-Za-z\x80-\U0010ffff]+")
_SEPARATORS = re.compile(r"([\x00-/:-@\[-`{-\x7f]+)")
_LETTER = r"[0-9a-z\x{80}-\x{10FFFF}]"
_SEPARATOR = r"[^0-9a-z\x{80}-\x{10FFFF}]"


def phrase(parts: Sequence[str]) -> tuple[Word, ...]:
    """The words in order, in lower case as by the store's `lower`: ASCII only."""
    parts = [part.encode().lower().decode() for part in parts]
    if len(parts) == 1:
        return tuple((word,) for word in _WORD.findall(parts[0]))
    # Of several wildcards in a row one is enough.
    return tuple((word[0], *filter(None, word[1:-1]), *word[1:][-1:]) for word in _split(parts))


def phrase_regex(words: Sequence[Word]) -> str:
    """The regular expression (RE2) that finds a phrase in a text in lower case; words need no escapes."""
    first, last = words[0], words[-1]
    start = "" if first[0] == "" and first != ANY else f"(?:^|{_SEPARATOR})"
    end = "" if last[-1] == "" and last != ANY else f"(?:$|{_SEPARATOR})"
    written = [f"{_LETTER}+" if word == ANY else f"{_LETTER}*".join(word) for word in words]
    if not start:
        written[0] = written[0].removeprefix(f"{_LETTER}*")
    if not end:
        written[-1] = written[-1].removesuffix(f"{_LETTER}*")
    return start + f"{_SEPARATOR}+".join(written) + end


def matches_wildcards(parts: Sequence[str], text: str) -> bool:
    """Whether `text` is the parts with anything between them."""
    return re.fullmatch(".*".join(map(re.escape, parts)), text, re.DOTALL) is not None


def _split(parts: Sequence[str]) -> Iterator[list[str]]:
    word: list[str] = []
    for n, part in enumerate(parts):
        if n:
            word = [*(word or [""]), ""]
        for piece in _SEPARATORS.split(part):
            if piece and not _WORD.match(piece):
                if word:
                    yield word
                word = []
            elif piece:
                word = [*word[:-1], (word[-1] if word else "") + piece]
    if word:
        yield word
