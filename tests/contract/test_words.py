"""Words of any script: what a term finds, in fresh, merged and mixed parts, in search, tail and plain Python."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.errors import Rejected
from parsec.query.language.parse import parse
from parsec.query.language.tokenizer import split
from parsec.query.sql.columns import Parameters
from parsec.query.sql.compile import condition
from parsec.query.sql.new_events import Filter, new_events
from parsec.query.sql.words import WORDS
from tests.support.matching import Subject, predicate, words_of
from tests.support.stored import row
from tests.support.stores import LIMITS, TestEngine, embedded_store


class Line(msgspec.Struct):
    message: str
    found_by: list[str]
    not_by: list[str]


LINES = msgspec.json.Decoder(Line).decode_lines((Path(__file__).parents[1] / "support" / "messages.jsonl").read_bytes())
"""Lines as programs write them, in more than fifteen scripts."""
TERMS = sorted({term for line in LINES for term in (*line.found_by, *line.not_by)})
CHARACTERS = (
    *"aBZ09 _-./\n\0\t", *"\x1b[]m;0K\x07\x9b", *"\u00e9\u00c9\u00df\u1e9e\u0130\u0131I\u017f\u212a\u00b5\u00b2\u0301",
    *"\u03a3\u03c2\u03c3\u041e\u0448\u0e44\u0e17\u0ea5\u1000\u1781\ud55c\ub85c\u767b\u5f55\u30ab\u30fc\uff76\u3099",
    *"\u00a0\u200b\u200d\u202f\u3000\u2014\u201c\u2022\u2192\u20ac\ufe0f\U0001f600\U0001f1e9\U00020000\U000e0041\ue000",
)  # fmt: skip
_AWKWARD = re.compile(r'[\s\0()\[\]{}:"\\<>=*]')
texts = st.text(st.sampled_from(CHARACTERS), min_size=1, max_size=10)


class Store:
    """Messages in one part that is merged, with the index, and in two that are fresh, without it."""

    def __init__(self, store: ClickHouseStore, engine: TestEngine) -> None:
        self._store, self._engine = store, engine
        self.reader = store.reader()
        self.messages: list[str] = []
        self._subjects: list[Subject] = []

    def keep(self, messages: list[str]) -> None:
        first = len(self.messages)
        self._store.insert([row(first + n, message=text) for n, text in enumerate(messages)], f"t{first}")
        self.messages += messages
        self._subjects += [Subject(row(first + n, message=text)) for n, text in enumerate(messages)]

    def merge(self) -> None:
        self._engine.ask("OPTIMIZE TABLE events FINAL")

    def found(self, texts: list[str]) -> list[list[int]]:
        """The offsets that each finds as a condition of rows, which uses the index."""
        found: list[list[int]] = []
        for first in range(0, len(texts), 50):
            parameters = Parameters()
            conditions = [condition(parse(text), parameters) for text in texts[first : first + 50]]
            sql = " UNION ALL ".join(
                f"SELECT {n} AS number, arraySort(groupArray(offset)) FROM events WHERE {one}"  # noqa: S608
                for n, one in enumerate(conditions)
            )
            rows = self.reader.select(sql, parameters.values, LIMITS, tuple[int, list[int]])
            found += [offsets for _, offsets in sorted(rows)]
        return found

    def counted(self, texts: list[str]) -> list[list[int]]:
        """The same by conditions of aggregates, which use no index."""
        parameters = Parameters()
        found = ", ".join(f"groupArrayIf(offset, {condition(parse(text), parameters)} = 1)" for text in texts)
        (answer,) = self.reader.select(f"SELECT {found} FROM events", parameters.values, LIMITS, list[list[int]])  # noqa: S608
        return [sorted(offsets) for offsets in answer]

    def in_python(self, text: str) -> list[int]:
        holds = predicate(parse(text))
        return [subject.row.offset for subject in self._subjects if holds(subject)]


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    chance = random.Random(5)
    noise = ["".join(chance.choices(CHARACTERS, k=chance.randint(1, 12))) + "x" for _ in range(1500)]
    with embedded_store() as (made, engine):
        kept = Store(made, engine)
        kept.keep([line.message for line in LINES])
        kept.keep(noise[:500])
        kept.merge()
        kept.keep(noise[500:1000] + [line.message for line in LINES])
        kept.keep(noise[1000:])
        yield kept


def test_the_lines_are_many_and_of_many_scripts() -> None:
    assert len(LINES) >= 60
    assert min(min(len(line.found_by), len(line.not_by)) for line in LINES) >= 1


@pytest.mark.parametrize("line", LINES, ids=[line.message for line in LINES])
def test_a_line_is_found_by_its_words_and_by_no_others(line: Line) -> None:
    subject = Subject(row(message=line.message))
    found = {term: predicate(parse(term))(subject) for term in (*line.found_by, *line.not_by)}
    assert found == {**dict.fromkeys(line.found_by, True), **dict.fromkeys(line.not_by, False)}


def test_the_store_finds_the_lines_as_python_does_in_parts_with_and_without_the_index(store: Store) -> None:
    expected = dict(zip(TERMS, map(store.in_python, TERMS), strict=True))
    assert dict(zip(TERMS, store.found(TERMS), strict=True)) == expected
    assert dict(zip(TERMS, store.counted(TERMS), strict=True)) == expected
    negated = [f"NOT ({term})" for term in TERMS[::10]]
    assert store.found(negated) == list(map(store.in_python, negated))


def test_a_question_is_answered_from_the_index(store: Store) -> None:
    for term in ("timeout", '"disk full"', "\u767b\u5f55"):
        parameters = Parameters()
        sql = f"EXPLAIN indexes = 1 SELECT count() FROM events WHERE {condition(parse(term), parameters)}"  # noqa: S608
        plan = [line for (line,) in store.reader.select(sql, parameters.values, LIMITS, tuple[str])]
        assert any(line.strip() == "Name: message_words" for line in plan), plan


def test_tail_finds_the_lines_that_search_finds(store: Store) -> None:
    until = {("log-1", 0): len(store.messages)}
    for first in range(0, len(TERMS), 100):
        some = TERMS[first : first + 100]
        answer = new_events(store.reader, "acme", [Filter(parse(term), {}) for term in some], until, LIMITS)
        found: dict[int, list[int]] = {n: [] for n in range(len(some))}
        for group in answer.groups:
            for number in group.filters:
                found[number] += [event[2] for event in group.events]
        assert {some[n]: sorted(offsets) for n, offsets in found.items()} == {t: store.in_python(t) for t in some}


def test_the_index_holds_the_words_that_the_tokenizer_and_the_reference_find(store: Store) -> None:
    sql = f"SELECT tokens({WORDS}, 'splitByNonAlpha') FROM events ORDER BY offset"  # noqa: S608
    stored = [words for (words,) in store.reader.select(sql, {}, LIMITS, tuple[list[str]])]
    assert stored == [split(message) for message in store.messages]
    assert stored == [words_of(message) for message in store.messages]


@settings(max_examples=300)
@given(texts)
def test_the_tokenizer_and_the_reference_split_alike(text: str) -> None:
    assert split(text) == words_of(text)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["{}", "{}*", "*{}", "*{}*", '"{}"']), texts), min_size=1, max_size=6))
def test_any_term_finds_the_same_everywhere(store: Store, pieces: list[tuple[str, str]]) -> None:
    terms = [form.format(text if form == '"{}"' else _AWKWARD.sub("", text)) for form, text in pieces]
    terms = [term for term in terms if "\0" not in term and _is_expression(term)]
    expected = dict(zip(terms, map(store.in_python, terms), strict=True))
    if terms:
        assert dict(zip(terms, store.found(terms), strict=True)) == expected
        assert dict(zip(terms, store.counted(terms), strict=True)) == expected


def _is_expression(text: str) -> bool:
    try:
        parse(text)
    except Rejected:
        return False
    return True


def test_every_character_beyond_ascii_is_stored_as_the_question_reads_it() -> None:
    codes = [code for code in range(0x80, 0x110000) if not 0xD800 <= code < 0xE000]
    with embedded_store() as (made, engine):
        kept = Store(made, engine)
        kept.keep(["x".join(map(chr, codes[first : first + 500])) for first in range(0, len(codes), 500)])
        sql = "SELECT words FROM events ORDER BY offset"
        stored = [words for (words,) in kept.reader.select(sql, {}, LIMITS, tuple[str])]
        assert stored == [f" {' '.join(split(message))}" for message in kept.messages]
