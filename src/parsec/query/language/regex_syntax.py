"""Regular expressions, parsed: the part of RE2's syntax that questions may use.

In: a pattern. Out: steps for parsec.query.language.regex. Errors: RegexError with the place in the pattern. RE2
takes whatever this takes; what RE2 takes and this does not (named groups, `\\pL`, `[[:alpha:]]`) is refused by name.
"""

from typing import NoReturn

from parsec.query.language.regex_steps import WORD, Assert, Code, Ranges, Set, Split, cases_of

MAX_CHARS = 500
MAX_STEPS = 1000
MAX_GROUPS = 50

_LAST = 0x10FFFF
_DIGIT: Ranges = ((48, 57),)
_SPACE: Ranges = ((9, 10), (12, 13), (32, 32))
_CLASSES = {"d": _DIGIT, "w": WORD, "s": _SPACE}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "a": 7}
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


class RegexError(ValueError):
    """`at` is the place in the pattern, from 0."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(why)
        self.at = at


def parsed(pattern: str) -> Code:
    """The steps of a pattern. Raises RegexError."""
    if len(pattern) > MAX_CHARS:
        raise RegexError(0, f"a regular expression has at most {MAX_CHARS} characters.")
    if "\0" in pattern:
        raise RegexError(pattern.index("\0"), "a regular expression holds no NUL; write \\x00.")
    return _Parser(pattern).whole()


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._groups = 0
        self._flags = ""

    def whole(self) -> Code:
        if self._text.startswith("(?") and not self._text.startswith("(?:"):
            self._read_flags()
        code = self._either()
        if self._at < len(self._text):
            self._refuse("this parenthesis closes nothing; write \\) for the character.")
        return code

    def _read_flags(self) -> None:
        end = self._text.find(")")
        flags = self._text[2:end]
        if end < 0 or not flags or flags.removesuffix("-s").strip("ims"):
            self._refuse("flags are i, m, s and -s, as in (?i); other groups that begin with (? are not supported.")
        self._flags = flags
        self._at = end + 1

    def _either(self) -> Code:
        code = self._sequence()
        while self._take("|"):
            other = self._sequence()
            code = self._bounded([Split(1, len(code) + 2), *code, _jump(len(other) + 1), *other])
        return code

    def _sequence(self) -> Code:
        code: Code = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            code = self._bounded(code + self._piece())
        return code

    def _piece(self) -> Code:
        start = self._at
        atom = self._atom()
        low, high, found = self._count()
        if not found:
            return atom
        if not atom or (len(atom) == 1 and isinstance(atom[0], Assert)):
            self._refuse("nothing can be repeated here.", start)
        self._take("?")
        if self._text[self._at : self._at + 1] in ("*", "+", "?", "{"):
            self._refuse("a repetition cannot be repeated; put it in parentheses.")
        if max(low, high or 0, 1) * max(1, len(atom)) > MAX_STEPS:
            self._refuse("it repeats too much.", start)
        if high is None:
            return self._bounded(atom * low + [Split(1, len(atom) + 2), *atom, _jump(-len(atom) - 1)])
        optional: Code = []
        for _ in range(high - low):
            optional = [Split(1, len(atom) + len(optional) + 1), *atom, *optional]
        return self._bounded(atom * low + optional)

    def _count(self) -> tuple[int, int | None, bool]:
        """How often at least and at most, and whether that is said at all."""
        for sign, low, high in (("*", 0, None), ("+", 1, None), ("?", 0, 1)):
            if self._take(sign):
                return low, high, True
        if self._text[self._at : self._at + 1] != "{":
            return 1, 1, False
        end = self._text.find("}", self._at)
        low_text, comma, high_text = self._text[self._at + 1 : max(end, 0)].partition(",")
        sound = _is_count(low_text) and (_is_count(high_text) or not high_text)
        if end < 0 or not sound or (high_text and int(high_text) < int(low_text)):
            self._refuse("a repetition is {2}, {2,} or {2,5}; write \\{ for the character.")
        self._at = end + 1
        return int(low_text), (int(high_text) if high_text else None) if comma else int(low_text), True

    def _atom(self) -> Code:
        character = self._text[self._at]
        if character in "*+?{":
            self._refuse(f"there is nothing to repeat before it; write \\{character} for the character.")
        self._at += 1
        if character == "(":
            return self._group()
        if character == "[":
            return [self._class()]
        if character == "\\":
            return [self._escape()]
        if character in "^$":
            return [Assert(character, "m" in self._flags)]
        if character == ".":
            return [Set(((10, 10),) if "-s" in self._flags else (), outside=True)]
        return [self._one(ord(character))]

    def _group(self) -> Code:
        opened = self._at - 1
        self._groups += 1
        if self._groups > MAX_GROUPS:
            self._refuse(f"at most {MAX_GROUPS} groups.", opened)
        if self._take("?") and not self._take(":"):
            self._refuse("of groups that begin with (? there is (?:...), and flags as (?i) at the start.", opened)
        code = self._either()
        if not self._take(")"):
            self._refuse("this parenthesis is never closed; write \\( for the character.", opened)
        return code

    def _escape(self) -> Set | Assert:
        start = self._at - 1
        letter = self._next("a pattern cannot end with a backslash.")
        if letter in "bB":
            return Assert(letter)
        if letter in ("A", "z"):
            return Assert("^" if letter == "A" else "$")
        if letter.lower() in _CLASSES:
            return Set(_CLASSES[letter.lower()], letter.isupper())
        return self._one(self._code(letter, start))

    def _code(self, letter: str, start: int) -> int:
        """The character that a backslash and `letter` mean."""
        if letter in _PUNCTUATION:
            return ord(letter)
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter != "x":
            self._refuse(f"\\{letter} is not supported; there are \\d \\w \\s \\b \\x41 and escaped signs.", start)
        if self._take("{"):
            end = self._text.find("}", self._at)
            digits = self._text[self._at : max(end, 0)]
            self._at = end + 1
        else:
            digits = self._text[self._at : self._at + 2]
            self._at += 2
            digits = digits if len(digits) == 2 else ""
        if not 1 <= len(digits) <= 6 or not set(digits) <= set("0123456789abcdefABCDEF") or int(digits, 16) > _LAST:
            self._refuse("a character by its number is \\x41 or \\x{1F600}.", start)
        if 0xD800 <= int(digits, 16) <= 0xDFFF:
            self._refuse("this number is no character.", start)
        return int(digits, 16)

    def _class(self) -> Set:
        opened = self._at - 1
        outside = self._take("^")
        ranges: list[tuple[int, int]] = []
        first = True
        while first or not self._take("]"):
            ranges += self._member(opened, first=first)
            first = False
        return Set(tuple(ranges), outside, "i" in self._flags)

    def _member(self, opened: int, *, first: bool) -> Ranges:
        start = self._at
        why = "this bracket is never closed; write \\[ for the character."
        if start >= len(self._text):
            self._refuse(why, opened)
        low, whole = self._bound(why)
        if whole is not None:
            return whole
        if self._text[start] == "-" and not first and self._text[self._at : self._at + 1] != "]":
            self._refuse("in brackets a - stands first, last, or as \\-.", start)
        if self._text[self._at : self._at + 1] != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
            return ((low, low),)
        self._at += 1
        high, whole = self._bound(why)
        if whole is not None or high < low:
            self._refuse("a range goes from a lower to a higher character.", start)
        return ((low, high),)

    def _bound(self, why: str) -> tuple[int, Ranges | None]:
        """A character of a class, or all that an escape as `\\d` stands for."""
        start = self._at
        character = self._next(why)
        if character == "[" and self._text[self._at : self._at + 1] in (":", ".", "="):
            self._refuse("named classes are not supported; write \\[ for the character.", start)
        if character != "\\":
            return ord(character), None
        letter = self._next(why)
        if letter.lower() in _CLASSES:
            ranges = _CLASSES[letter.lower()]
            return 0, _rest(ranges) if letter.isupper() else ranges
        return self._code(letter, start), None

    def _one(self, code: int) -> Set:
        if "i" not in self._flags:
            return Set(((code, code),))
        return Set(tuple((case, case) for case in cases_of(chr(code))), folded=True)

    def _take(self, sign: str) -> bool:
        found = self._text.startswith(sign, self._at)
        self._at += found
        return found

    def _next(self, why: str) -> str:
        if self._at >= len(self._text):
            self._refuse(why, len(self._text) - 1)
        self._at += 1
        return self._text[self._at - 1]

    def _bounded(self, code: Code) -> Code:
        if len(code) > MAX_STEPS:
            self._refuse("it is too long, repetitions counted out.")
        return code

    def _refuse(self, why: str, at: int | None = None) -> NoReturn:
        raise RegexError(self._at if at is None else at, why)


def _jump(distance: int) -> Split:
    return Split(distance, distance)


def _is_count(text: str) -> bool:
    return 1 <= len(text) <= 4 and text.isascii() and text.isdigit() and int(text) <= MAX_STEPS


def _rest(ranges: Ranges) -> Ranges:
    """All characters in none of these ranges, which are in order."""
    edges = [0, *(edge for low, high in ranges for edge in (low, high + 1)), _LAST + 1]
    return tuple((low, high - 1) for low, high in zip(edges[::2], edges[1::2], strict=True) if low < high)
