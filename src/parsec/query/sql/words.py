"""The words of a message in SQL: what the word index holds, and what a question about words reads.

In: the definition of a word (parsec.query.language.letters). Out: expressions over table `events`. Errors: none.
The table's migration has COLUMN byte for byte; a test compares them. Decision 0018 has the measurements.
Next: parsec.query.sql.compile.
"""

from parsec.query.language import tokenizer
from parsec.query.language.letters import FOLDED, SHARP_S

WORDS = "if(empty(words), lower(message), words)"
"""A text whose runs of letters and characters beyond ASCII are the words of the message. The index is over this
expression, spelled so."""


def column() -> str:
    """`words`: empty where the message is ASCII without terminal escapes, as most are, else its words between spaces.

    The engine evaluates both sides of an `if` here, so the slow side gets an empty text instead (0.0 us, else 1.6)."""
    plain = r"isASCII(message) AND position(message, '\x1b') = 0"
    spell = "\\x{{{:x}}}"
    without_escapes = (
        f"replaceRegexpAll(if({plain}, '', message), {_quoted(tokenizer.escapes_regex(spell.format(0x9B)))}, ' ')"
    )
    words = f"arrayStringConcat(extractAll({without_escapes}, {_quoted(tokenizer.word_regex(spell))}), ' ')"
    upper, lower = (_quoted("".join(letters)) for letters in zip(*FOLDED.items(), strict=True))
    folded = f"lower(translateUTF8({words}, {upper}, {lower}))"
    return f"concat(if({plain}, '', ' '), replaceAll({folded}, {', '.join(map(_quoted, SHARP_S))}))"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
