"""The words of a message, as the store's tokenizer `splitByNonAlpha` yields them.

In: texts. Out: words, phrases. Errors: none. A word is a run of ASCII letters, digits and characters beyond ASCII; all
else separates. Letters beyond ASCII have no lower case for the word index, so words with such letters are compared
by folding each character, without the index.
"""

import re
from collections.abc import Iterator, Sequence

Word = tuple[str, ...]

_WORD = re.compile(r"[0-9A-Za-z\x80-\U0010ffff]+")
_LETTER = r"[0-9a-z\x{80}-\x{10FFFF}]"
_NO_LETTER = r"[^0-9a-z\x{80}-\x{10FFFF}]"
ANY: Word = ("", "")


def lower(text: str) -> str:
    """As the store's `lower`: ASCII only."""
    return text.encode().lower().decode()


def phrase(parts: Sequence[str]) -> tuple[Word, ...]:
    """The words of a text with wildcards between its parts: `("time", "")` is every word that begins with `time`."""
    return tuple(_close(word) for word in _open_words(parts))


def whole(words: Sequence[Word]) -> bool:
    """Whether no word of the phrase has a wildcard."""
    return all(len(word) == 1 for word in words)


def is_ascii(words: Sequence[Word]) -> bool:
    return all(part.isascii() for word in words for part in word)


def pattern(words: Sequence[Word]) -> str:
    """The regular expression (RE2) by which a lowered text is searched for a phrase; words hold nothing to escape."""
    first, last = words[0], words[-1]
    start = "" if first[0] == "" and first != ANY else f"(?:^|{_NO_LETTER})"
    end = "" if last[-1] == "" and last != ANY else f"(?:$|{_NO_LETTER})"
    written = [f"{_LETTER}+" if word == ANY else f"{_LETTER}*".join(word) for word in words]
    if not start:
        written[0] = written[0].removeprefix(f"{_LETTER}*")
    if not end:
        written[-1] = written[-1].removesuffix(f"{_LETTER}*")
    return start + f"{_NO_LETTER}+".join(written) + end


def like(parts: Sequence[str], text: str) -> bool:
    """Whether `text` is the parts with anything between them; time grows with the length of the text only."""
    if len(parts) == 1:
        return text == parts[0]
    first, last = parts[0], parts[-1]
    if not text.startswith(first):
        return False
    at, end = len(first), len(text) - len(last)
    for part in parts[1:-1]:
        found = text.find(part, at, max(at, end))
        if found < 0:
            return False
        at = found + len(part)
    return at <= end and text.endswith(last)


def _open_words(parts: Sequence[str]) -> Iterator[list[str]]:
    word: list[str] = []
    for n, part in enumerate(parts):
        if n:
            word = [*(word or [""]), ""]
        for piece in re.split(r"([\x00-/:-@\[-`{-\x7f]+)", part):
            if piece and not _WORD.match(piece):
                if word:
                    yield word
                word = []
            elif piece:
                word = [*word[:-1], (word[-1] if word else "") + piece]
    if word:
        yield word


def _close(word: Sequence[str]) -> Word:
    """Of several wildcards in a row one is enough."""
    return word[0], *(part for part in word[1:-1] if part), *word[1:][-1:]
