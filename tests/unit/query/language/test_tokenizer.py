"""Words of terms, as the store's tokenizer splits them, and the expressions that find phrases of them."""

import pytest
import re2

from parsec.query.language.tokenizer import ANY, matches_wildcards, phrase, phrase_regex


@pytest.mark.parametrize(("text", "words"), [
    ("timed out", ["timed", "out"]),
    ("Timed-OUT!", ["timed", "out"]),
    ("user_id=42", ["user", "id", "42"]),
    ("10.0.0.1", ["10", "0", "0", "1"]),
    ("\u00dcbertragung Stra\u00dfe STRASSE", ["\u00fcbertragung", "strasse", "strasse"]),
    ("\u4f60\u597d, world", ["\u4f60", "\u597d", "world"]),  # each is a word where no spaces are written
    ("\u767b\u5f55500\u6b21", ["\u767b", "\u5f55", "500", "\u6b21"]),
    ("a\u2019b a\u00a0b a\u200bb a\u3000b", ["a", "b"] * 4),
    ("\x1b[31mError\x1b[0m \x1b]0;title\x07x\x1b[", ["error", "title", "x"]),
    ("\u0130stanbul ISPARTA \u0131sparta", ["istanbul", "isparta", "isparta"]),
    ("cafe\u0301", ["cafe\u0301"]),  # marks belong to their letter
    ("tab\there", ["tab", "here"]),
    (" -- ", []),
    ("", []),
])  # fmt: skip
def test_a_text_without_wildcards_is_split_into_whole_words(text: str, words: list[str]) -> None:
    assert phrase([text]) == tuple((word,) for word in words)


@pytest.mark.parametrize(("parts", "words"), [
    (["time", ""], [("time", "")]),  # time*
    (["", "out"], [("", "out")]),  # *out
    (["t", "out"], [("t", "out")]),  # t*out
    (["10.0.", ""], [("10",), ("0",), ANY]),  # 10.0.*
    (["time ", " out"], [("time",), ANY, ("out",)]),
    (["a", "", "b"], [("a", "b")]),  # a**b: of several wildcards one is enough
    (["A-b", "-C"], [("a",), ("b", ""), ("c",)]),
    (["", "", ""], [ANY]),
    (["\u767b", ""], [("\u767b",)]),  # beside a character that is a word by itself
    (["", "\u767b", ""], [("\u767b",)]),
    (["\u767b", "\u8d25"], [("\u767b",), ANY, ("\u8d25",)]),
    (["\u767b", "or"], [("\u767b",), ("", "or")]),
])  # fmt: skip
def test_a_wildcard_stays_in_the_word_that_it_touches(parts: list[str], words: list[tuple[str, ...]]) -> None:
    assert phrase(parts) == tuple(words)


@pytest.mark.parametrize(("parts", "found", "not_found"), [
    (["time", ""], ["timed out", "a time", "x-time2"], ["overtime", "tim e"]),
    (["", "out"], ["timeout", "out of", "a.out"], ["outer"]),
    (["t", "out"], ["timeout", "tout"], ["time out", "timeouts"]),
    (["10.0.", ""], ["10.0.0.1", "is 10 0 x"], ["10.0", "110.0.1"]),
    (["timed out"], ["timed out", "timed   out", "it timed-out!"], ["timed", "out timed", "timed outs", "timed x out"]),
])  # fmt: skip
def test_the_expression_of_a_phrase_finds_whole_words_in_their_order(
    parts: list[str], found: list[str], not_found: list[str]
) -> None:
    compiled = re2.compile(phrase_regex(phrase(parts)))
    assert [text for text in found + not_found if compiled.search(text)] == found


@pytest.mark.parametrize(("parts", "text", "matches"), [
    (["err", ""], "error", True), (["", "or"], "error", True), (["e", "r"], "error", True), (["e", "r"], "er", True),
    (["ab", "ba"], "aba", False), (["", "x", ""], "error", False), (["error"], "error", True), (["."], "x", False),
])  # fmt: skip
def test_wildcards_stand_for_any_text(parts: list[str], text: str, matches: bool) -> None:
    assert matches_wildcards(parts, text) is matches
