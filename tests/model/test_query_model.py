"""A question finds the same events in the store and in plain Python, and no text makes the store fail."""

import json
import os
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.core.errors import Rejected
from parsec.ports.store import Row
from parsec.process.search_text import texts
from parsec.query.language import tokenizer
from parsec.query.language.ast import Field, Match, Matches
from parsec.query.language.fields import MAX_REGEX_CHARS
from parsec.query.language.parse import parse
from parsec.query.sql.columns import Parameters
from parsec.query.sql.compile import condition
from tests.support.matching import Subject, predicate
from tests.support.stores import LIMITS, TestEngine, embedded_store

NOON = 1_795_435_200_000_000_000  # 2026-11-23T12:00:00Z
WORDS = (
    "time",
    "timed",
    "out",
    "user",
    "id",
    "10",
    "0",
    "Über",
    "straße",
    "ÜBER",
    "Error",
    "a",
    "\u212a",
    "\u767b",
    "\u5f55",
)
GLUE = (" ", "_", ".", "-", "  ", "/", "*", "%", '"', "\n", "(", "\\", "\u2014", "\x1b[1m")
TEXTS = (
    "7",
    "007",
    "7.0",
    "-7",
    "x",
    "X",
    "true",
    "eu-west",
    "eu_west",
    "",
    "1e3",
    "a%b",
    "a\\b",
    "a\nb",
    "500",
    "503",
    "ü",
)
NUMBERS = (7, 7.0, -7, 0, 0.5, 500, 503, 1000, 1 << 53, (1 << 53) + 1, -(1 << 63), (1 << 63) - 1, 12.25, True, False)
PATHS = (
    "n", "user.id", "user", "user.deep.er", "tags", "nums", "flags", "odd'name", "a.b", "", "ключ", "absent", "mixed",
    "items", "items.sku", "items.n.o", "items.tags", "items.inner.sku", "items.inner", "deep.list.sku", "odd.x", "odd",
)  # fmt: skip


def some_rows(count: int) -> list[Row]:
    """Events made of the words and values that questions are made of; always the same ones."""
    chance = random.Random(8)
    return [
        Row(
            "acme", NOON + chance.randint(-2, 2), chance.choice(("debug", "info", "warn", "error", "fatal")),
            chance.choice(("api-1", "api-2", "web", "d%b", "d_b")), _message(chance), text,
            chance.choice(("e1", "e2", "E1", "e'3")), NOON, chance.choice(("", "eu")), "node-1", "log-1", 0, n, 40_000,
            search_text,
        )
        for n in range(count)
        for text, search_text in [texts(msgspec.Raw(json.dumps(_metadata(chance)).encode()))]
    ]  # fmt: skip


def _message(chance: random.Random) -> str:
    return "".join(chance.choices(WORDS + GLUE, k=chance.randint(1, 8))) or "x"


def _metadata(chance: random.Random) -> dict[str, Any]:
    def scalar() -> object:
        return chance.choice((*TEXTS, *NUMBERS, None))

    def item(*more: object) -> dict[str, object]:
        whole = {"sku": scalar(), "n": {"o": scalar()}, "tags": chance.choices(TEXTS, k=2), "inner": list(more)}
        return {key: value for key, value in whole.items() if chance.random() < 0.7}

    def odd() -> object:
        return chance.choice(([[scalar()], scalar()], [scalar(), {"x": scalar()}], {"x": [{"x": [{"x": scalar()}]}]}))

    everything = {
        "n": scalar(),
        "user": chance.choice((scalar(), {}, {"id": scalar()}, {"id": scalar(), "deep": {"er": 1}})),
        "user.id": scalar(),
        "tags": chance.choices(TEXTS, k=chance.randint(1, 3)),
        "nums": chance.choices((7, 500, -7), k=chance.randint(1, 3)),
        "flags": chance.choices((True, False), k=chance.randint(1, 2)),
        "mixed": [scalar() for _ in range(chance.randint(0, 3))],
        "items": chance.choice(
            (
                [item(*(item() for _ in range(chance.randint(0, 2)))) for _ in range(chance.randint(0, 3))],
                [scalar() for _ in range(chance.randint(0, 3))],
            )
        ),
        "deep": {"list": [item()]},
        "odd": odd(),
        "odd'name": scalar(),
        "a": {"b": scalar()},
        "a.b": scalar(),
        "": scalar(),
        "ключ": scalar(),
    }
    many = {f"k{chance.randint(0, 99)}": 1 for _ in range(8)}  # more paths than become columns of their own
    return many | {key: value for key, value in everything.items() if chance.random() < 0.4}


messages = st.lists(st.sampled_from(WORDS + GLUE), min_size=1, max_size=8).map("".join)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def escaped(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "\\" + c for c in text)


REGEXES = (
    "time", "^time", "out$", "t.*d", "(?i)über", "[0-9]+", r"\bid\b", r"\d+\.\d", "(time|out)d?", "[^a-z]",
    "x{2,3}|e{1}", r"^\S+$", "^$", r"\Ba", r"\B", r"a\\b", "(?m)^b", "(?-s)a.b", "a.b", r"\w+_\w", "(?i)[ü-ý]B",
    r"[\d\s]$",
    "(a|b|)*x", "ß", "7|true",
)  # fmt: skip
bounds = st.sampled_from((*map(str, NUMBERS[:12]), *filter(None, TEXTS))).map(quoted) | st.just("*")
values = st.one_of(
    st.sampled_from(TEXTS).map(quoted),
    st.sampled_from([repr(n) for n in NUMBERS[:-2]]),
    st.sampled_from(
        ("true", "false", "*", "e*", "*e*", "*", "5*", "*0*3", "eu*st", "e\\*", "*%*", "*\\\\*", "*_*", "*ü*")
    ),
    st.sampled_from(REGEXES).map(lambda r: f"/{r}/"),
    st.tuples(st.sampled_from((">", ">=", "<", "<=", "=")), bounds.filter(lambda b: b != "*")).map("".join),
    st.tuples(st.sampled_from("[{"), bounds, bounds, st.sampled_from("]}"))
    .filter(lambda b: b[1:3] != ("*", "*"))
    .map(lambda b: f"{b[0]}{b[1]} TO {b[2]}{b[3]}"),
)
lists = st.lists(values, min_size=1, max_size=3).map(lambda parts: f"({' OR '.join(parts)})")
word = st.lists(st.sampled_from((*WORDS, "*", "_", ".", "t")), min_size=1, max_size=4).map("".join)
times = st.sampled_from(("2026-11-23T12:00:00Z", "2026-11-23T12:00:00.000000001Z", str(NOON - 1)))
terms = st.one_of(
    word.filter(lambda text: any(c.isalnum() or c == "*" for c in text)),
    messages.filter(lambda text: bool(tokenizer.split(text))).map(quoted),
    st.sampled_from(REGEXES).map(lambda r: f"/{r}/"),
    st.tuples(st.sampled_from(PATHS).map(lambda path: f"metadata.{quoted(path)}"), values | lists).map(":".join),
    st.tuples(st.sampled_from(("source", "id", "region", "node")), values | lists).map(":".join),
    st.sampled_from(("warn", "err*", ">=warning", "<error", "(info OR >error)", "[debug TO warn}", "/r/", "x*")).map(
        lambda value: f"severity:{value}"
    ),
    st.tuples(st.sampled_from(("timestamp:", "received_at:")), st.sampled_from((">", "<=", "=")), times).map("".join),
)  # fmt: skip
expressions = st.recursive(
    terms,
    lambda inner: st.one_of(
        inner.map(lambda e: f"NOT ({e})"),
        inner.map(lambda e: f"-({e})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' OR '.join(parts)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"({' '.join(parts)})"),
    ),
    max_leaves=5,
)


class Asking:
    """A store with some events, in a merged part and in a fresh one, and the same events in a list."""

    def __init__(self, store: ClickHouseStore, engine: TestEngine) -> None:
        self._store, self._reader = store, store.reader()
        self.kept = some_rows(300)
        for first in range(0, 300, 100):
            if first == 200:
                engine.ask("OPTIMIZE TABLE events FINAL")
            store.insert(self.kept[first : first + 100], f"t{first}")

    def found(self, *texts: str, log: str = "log-1") -> list[list[int]]:
        """The offsets that each question finds."""
        parameters = Parameters()
        found = ", ".join(f"groupArrayIf(offset, {condition(parse(text), parameters)} = 1)" for text in texts)
        sql = f"SELECT {found} FROM events WHERE log_id = {parameters.bind(log)}"  # noqa: S608
        (answer,) = self._reader.select(sql, parameters.values, LIMITS, list[list[int]])
        return [sorted(offsets) for offsets in answer]

    def matches(self, patterns: list[str]) -> list[list[str]]:
        """The SEARCHED texts in which each pattern is found; given as they are, however little of them q would take."""
        parameters = Parameters()
        texts = f"(SELECT arrayJoin({parameters.bind(list(SEARCHED), 'Array(String)')}) AS source)"
        tests = [condition(Match(Field("source"), Matches(pattern)), parameters) for pattern in patterns]
        found = ", ".join(("count()", *(f"groupArrayIf(source, {test} = 1)" for test in tests)))
        sql = f"SELECT {found} FROM {texts}"  # noqa: S608
        (answer,) = self._reader.select(sql, parameters.values, LIMITS, list[Any])
        return list(answer[1:])

    def keep(self, log: str, *metadata: str) -> None:
        self._store.insert([row(log, n, text) for n, text in enumerate(metadata)], log)


@pytest.fixture(scope="module")
def asking() -> Iterator[Asking]:
    with embedded_store() as (store, engine):
        yield Asking(store, engine)


def in_python(text: str, kept: list[Row]) -> list[int]:
    holds = predicate(parse(text))
    return [row.offset for row in kept if holds(Subject(row))]


@settings(max_examples=100)
@given(st.lists(expressions, min_size=1, max_size=8))
def test_store_and_python_find_the_same_events(asking: Asking, texts: list[str]) -> None:
    for text, found in zip(texts, asking.found(*texts), strict=True):
        assert found == in_python(text, asking.kept), text


@settings(max_examples=300)
@given(
    st.text(st.sampled_from(list("ab7*:()[]{}<>=\"\\/-. TOANDR\n'`%_?^$|+.,;{x:String}\u00fc\u2028\x01")), max_size=40)
)
@example("metadata.'; DROP TABLE events; --:1")
@example("metadata.a\\`b:1")
@example("source:{v0:String}")
@example("metadata.{v0:String}:>1")
@example("' OR 1=1 --")
@example('metadata."a.:Int64":7')
@example('metadata."^a":*')
@example('metadata."a[]":x*')
@example("metadata.*:7")
@example("metadata.a.b.:7")
def test_no_text_makes_the_store_fail(asking: Asking, text: str) -> None:
    told: tuple[str, str | None, str] | None = None
    try:
        parse(text)
    except Rejected as error:
        told = (error.code, error.field, error.message[:7])
    else:
        asking.found(text)
    assert told in (None, ("invalid_query", "q", "Column "))


ODD_PARTS = (*"ab.:[]^@'\\\"(){},*%-$ \n\t\x7fü", "Array(", ".:Int64", "[]", "null", "size0")
odd = st.lists(st.sampled_from(ODD_PARTS), max_size=8).map("".join)


@settings(max_examples=15)
@given(st.lists(odd, min_size=20, max_size=20, unique=True))
def test_any_path_is_found_as_it_was_sent(asking: Asking, paths: list[str]) -> None:
    log = f"log-{os.urandom(8).hex()}"
    asking.keep(log, *(json.dumps({path: 7}) for path in paths))
    for n, path in enumerate(paths):
        name = f"metadata.{quoted(path)}"
        found = asking.found(f"{name}:7", f"{name}:>6", f"{name}:/7/", f"{name}:x*", f"{name}:(8 OR true)", log=log)
        assert found == [[n], [n], [n], [], []], path
        assert n in asking.found(f"{name}:*", log=log)[0]


def row(log: str, offset: int, text: str) -> Row:
    return Row("acme", NOON, "info", "api", "hello", text, "e", NOON, "", "", log, 0, offset, 40_000)


@settings(max_examples=200)
@given(st.text(st.sampled_from(list("ab(|)*+?{}[]^$\\.-,0129:=PidwsSDxzAQpUm<>!/\u00fc\n")), max_size=20))
@example("(?:){1000}")
@example("((a{31}){31})")
@example("(a|b|){500}")
@example("[^\\W\\d]{900}")
@example("[\\p{L}]{1000}")
def test_every_expression_that_is_taken_is_one_for_the_store(asking: Asking, pattern: str) -> None:
    try:
        parse(f"/{pattern}/")
    except Rejected:
        return
    asking.found(f"/{pattern}/")


ATOMS = (
    "a", "b", "ab", "abc", "x", "1", ".", "\\d", "\\w", "\\W", "\\s", "\\b", "\\B", "^", "$", "\\A", "\\z", "[ab]",
    "[^a]", "[]a]", "[^]a]", "[a-c]", "[\\x41]", "\\x41", "\\x{61}", "\\pL", "\\PN", "\\p{Greek}", "[[:alpha:]]",
    "\\Qa|b\\E", "\\Qab", "\\101", "\\0", "\\.", "\\n", "(?i)", "(?-i)", "(?-s)", "(?m)", "(?U)", "\u00e9", "\u00dc",
    "{", "-", "|",
)  # fmt: skip
COUNTS = ("", "", "", "*", "+", "?", "{2}", "{0}", "{0,2}", "*?", "??", "{,2}", "{3,2}")
counted = st.tuples(st.sampled_from(ATOMS), st.sampled_from(COUNTS)).map("".join)
patterns = st.recursive(
    st.lists(counted, min_size=1, max_size=4).map("".join),
    lambda inner: st.tuples(
        st.sampled_from(("(", "(?:", "(?i:", "(?P<n>", "(?-i:", "abc|(")), inner, st.sampled_from(COUNTS), inner
    ).map(lambda parts: f"{parts[0]}{parts[1]}){parts[2]}{parts[3]}"),
    max_leaves=4,
).filter(lambda pattern: len(pattern) <= MAX_REGEX_CHARS)
SEARCHED = (
    "", "a", "ab", "abc", "Abc", "ABC", "xabc", "a|b", "]", "]abc", "bcd", "1", "\u00e9", "\u00e9ab", "\u03b1z", "\n",
    "a\nb", "aab", "\u00fc", "\u00dc", "{2}", "a{2}", "Qab", "pLab", "x41", "41bc", "101", "A", "aaa", "a b", "\0",
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(patterns, min_size=30, max_size=30))
@example([r"\x41bc", r"a\x62c", r"\101bc", r"\pLbc", "[]a]cd", "\u00dc\u00e9{0,2}", "(?:(?P<n>abc-)+)+?(?s)??"])
def test_the_store_matches_as_re2_does(asking: Asking, some: list[str]) -> None:
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    expected = {}
    for pattern in some:
        with suppress(re2.error):
            compiled = re2.compile(pattern, options)
            expected[pattern] = [text for text in SEARCHED if compiled.search(text)]
    assert dict(zip(expected, asking.matches(list(expected)), strict=True)) == expected
