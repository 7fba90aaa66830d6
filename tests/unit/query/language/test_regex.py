"""Regular expressions: found where Python's `re` finds them, refused with their place, and bounded."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsec.query.language.regex import Program, RegexError, compiled
from parsec.query.language.regex_syntax import MAX_STEPS, parsed

atoms = st.sampled_from(("a", "b", ".", "[ab]", "[^a]", r"\d", r"\W", r"\s", r"\b", "^", r"\Z", "-", "[a-c1]", "\n"))
counts = st.sampled_from(("", "", "*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"))
repeated = st.tuples(atoms.filter(lambda atom: atom not in ("^", r"\Z", r"\b")), counts).map("".join)
patterns = st.recursive(
    repeated | atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, counts).map(lambda parts: f"(x|{parts[0]}){parts[1]}"),
    ),
    max_leaves=5,
)


@settings(max_examples=300)
@given(patterns, st.lists(st.text("ab1-x \n", max_size=8), min_size=1, max_size=5))
def test_found_where_python_finds_it(pattern: str, texts: list[str]) -> None:
    ours = compiled(pattern.replace(r"\Z", "$"))
    theirs = re.compile(pattern, re.DOTALL | re.ASCII)
    for text in texts:
        assert ours.found_in(text) == bool(theirs.search(text)), (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("(?i)über", "ÜBER", True), ("(?i)[a-c]", "B", True), ("(?i)[^a]", "A", False), ("(?m)^b$", "a\nb\nc", True),
        ("^b$", "a\nb", False), ("a.b", "a\nb", True), ("(?-s)a.b", "a\nb", False), ("b$", "b\n", False),
        (r"\x41\x{1F600}", "A\U0001f600", True), (r"\d", "\u0663", False), ("[]a]", "]", True), ("[a-]", "-", True),
        (r"[\W]", "\u00e9", True), ("", "", True), ("^$", "", True), (r"\B", "", True), (r"\Ba", "ba", True),
        (r"\Ba", " a", False), (r"\Aa\z", "a", True),
    ],
)  # fmt: skip
def test_as_the_store_understands_it(pattern: str, text: str, found: bool) -> None:
    assert compiled(pattern).found_in(text) is found


@pytest.mark.parametrize(
    ("pattern", "at"),
    [
        ("a(b", 1), ("ab)", 2), ("a**", 2), ("*a", 0), ("a{2", 1), ("a{3,2}", 1), ("a{1001}", 1), ("[a", 0),
        ("[b-a]", 1),
        ("a\\", 1), (r"a\p", 1), (r"(a)\1", 3), ("(?=a)", 0), ("(?<n>a)", 0), ("(?P<n>a)", 0), ("a(?i)b", 1),
        ("[[:alpha:]]", 1), (r"\x{110000}", 0), (r"\xD", 0), ("^*", 0), ("()*", 0), ("(a{900}){900}", 0), ("a\0", 1),
        ("x" * 501, 0), ("(" * 51 + ")" * 51, 50),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_refused_with_its_place(pattern: str, at: int) -> None:
    with pytest.raises(RegexError) as caught:
        compiled(pattern)
    assert caught.value.at == at


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(a*)*b", "(.*a){20}b", "(a|b)*a(a|b){12}c"])
def test_no_expression_takes_forever(pattern: str) -> None:
    """Each of these would keep Python's `re` busy for longer than anybody waits."""
    assert compiled(pattern).found_in("a" * 20_000 + "!") is False


def test_what_is_remembered_is_bounded() -> None:
    program = Program(parsed("(a|b)*a(a|b){10}c"))
    chance = [bit for n in range(1_500) for bit in f"{n * 2654435761 % 2**16:016b}"]
    assert not program.found_in("".join("ab"[int(bit)] for bit in chance))
    assert sum(len(places) for places, _ in program._states) <= 10_000 + MAX_STEPS
