"""Split texts into the words of a message, as the store's word index does.

In: the text of a term, split at its wildcards. Out: the words of a phrase. Errors: none. parsec.query.language.letters
has the definition; parsec.query.sql.words makes the store's half of it. Next: parsec.query.sql.compile.

A word is a run of letters, digits and marks of any script, in lower case; a character of a script without spaces is a
word by itself. Punctuation, symbols, spaces, format characters, emoji and terminal escape sequences separate words.
"""

import re
from collections.abc import Iterable, Sequence

from parsec.query.language.letters import FOLDED, SEPARATORS, SHARP_S, SINGLE, Range

Word = tuple[str, ...]
"""A word, split at its wildcards: `("time", "")` is every word that begins with `time`."""

ANY: Word = ("", "")

ASCII_SEPARATORS = r"\x00-/:-@\[-`{-\x7f"
_LETTER = r"[0-9a-z\x{80}-\x{10FFFF}]"
_SEPARATOR = r"[^0-9a-z\x{80}-\x{10FFFF}]"
_WILDCARD = "\0"  # no expression has one
_FOLD = str.maketrans({**{chr(c): chr(c + 32) for c in range(65, 91)}, **FOLDED})
_WILDCARDS = re.compile(f"{_WILDCARD}+")


def escapes_regex(csi: str) -> str:
    """Terminal escape sequences; `csi` is U+009B. Of a title or a link only what introduces it, so that it is found."""
    return rf"(?:\x1b\[|{csi})[0-?]*[ -/]*[@-~]?|\x1b(?:\][0-9]*|[ -/]*[0-~])?"


def word_regex(spell: str) -> str:
    """One word; `spell` writes a code point: `\\u{:08x}` or `\\x{{{:x}}}`."""
    separators, single = character_class(SEPARATORS, spell), character_class(SINGLE, spell)
    return f"[{single}]|[^{ASCII_SEPARATORS}{separators}{single}]+"


def character_class(ranges: Iterable[Range], spell: str) -> str:
    written = ((spell.format(first), spell.format(last)) for first, last in ranges)
    return "".join(first if first == last else f"{first}-{last}" for first, last in written)


_ESCAPES = re.compile(escapes_regex(r"\x9b"))
_WORD = re.compile(word_regex(r"\U{:08x}"))
_SINGLE, _OTHER = _WORD.pattern.split("|", 1)
_WITH_WILDCARDS = re.compile(f"{_SINGLE}|(?:{_OTHER}|{_WILDCARD})+")


def split(text: str) -> list[str]:
    """All words of a text."""
    return [_fold(word) for word in _WORD.findall(_ESCAPES.sub(" ", text))]


def phrase(parts: Sequence[str]) -> tuple[Word, ...]:
    """The words in order. A wildcard belongs to the word that it touches; it is any one word if it touches none, or
    stands between two characters that are words by themselves; beside one such character it counts for nothing."""
    if len(parts) == 1:
        return tuple((word,) for word in split(parts[0]))
    text = _WILDCARDS.sub(_apart, _ESCAPES.sub(" ", _WILDCARD.join(parts)))
    found = [tuple(map(_fold, word.split(_WILDCARD))) for word in _WITH_WILDCARDS.findall(text)]
    # Of several wildcards in a row one is enough.
    return tuple((word[0], *filter(None, word[1:-1]), *word[1:][-1:]) for word in found)


def _apart(wildcard: re.Match[str]) -> str:
    """A wildcard, set apart from characters that are words by themselves."""
    text, (start, end) = wildcard.string, wildcard.span()
    before, after = text[start - 1 : start], text[end : end + 1]
    single = bool(re.match(_SINGLE, before)), bool(re.match(_SINGLE, after))
    other = bool(_WORD.match(before)), bool(_WORD.match(after))
    if any(single) and not any(other[n] for n in (0, 1) if not single[n]) and not all(single):
        return " "
    return f"{' ' * single[0]}{_WILDCARD}{' ' * single[1]}"


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


def _fold(word: str) -> str:
    return word.lower() if word.isascii() else word.translate(_FOLD).replace(*SHARP_S)
