"""The steps of a regular expression's program: read a character, go on at two places, ask where one is.

In: a character, or the characters around a place. Out: whether the program may go on. Errors: none.
Next: parsec.query.language.regex.
"""

import msgspec

Ranges = tuple[tuple[int, int], ...]

WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))


class Set(msgspec.Struct, frozen=True):
    """One character out of `ranges`, or with `outside` one that is in none of them; `folded`: in any case."""

    ranges: Ranges
    outside: bool = False
    folded: bool = False

    def has(self, character: str) -> bool:
        codes = cases_of(character) if self.folded else (ord(character),)
        return any(low <= code <= high for code in codes for low, high in self.ranges) != self.outside


class Split(msgspec.Struct, frozen=True):
    """Go on at both places, told as distances from here."""

    first: int
    second: int


class Assert(msgspec.Struct, frozen=True):
    """Go on if the place between two characters is a `^`, `$`, `b` or `B`; with `lines`, `^` and `$` of each line."""

    kind: str
    lines: bool = False

    def holds(self, before: str, after: str) -> bool:
        """`before` and `after` are empty at the ends of the text."""
        if self.kind == "^":
            return not before or (self.lines and before == "\n")
        if self.kind == "$":
            return not after or (self.lines and after == "\n")
        return (is_word(before) != is_word(after)) == (self.kind == "b")


Code = list[Set | Split | Assert]


def is_word(character: str) -> bool:
    return bool(character) and any(low <= ord(character) <= high for low, high in WORD)


def cases_of(character: str) -> set[int]:
    """The character in each of its cases that are one character."""
    forms = (character, character.lower(), character.upper(), character.casefold())
    return {ord(form) for form in forms if len(form) == 1}
