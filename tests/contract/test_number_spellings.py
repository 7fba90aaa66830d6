"""Numbers in every spelling, alone and in lists, and texts that look like them: the store finds what Python finds."""

import json
from collections.abc import Iterator

import msgspec
import pytest

from parsec.ports.store import Row, StoreReader
from parsec.process.search_text import texts
from parsec.query.language.parse import parse
from parsec.query.sql.columns import Parameters
from parsec.query.sql.compile import condition
from tests.support.matching import Subject, predicate
from tests.support.stored import row
from tests.support.stores import LIMITS, embedded_store

NUMBERS = (
    *(
        "7",
        "7.0",
        "-7",
        "-0",
        "0",
        "-0.0",
        "1e3",
        "1E3",
        "1000",
        "0.1",
        "1e-5",
        "1e22",
        "123456789.125",
        "true",
        "false",
    ),
    *("9007199254740991", "9007199254740992", "9007199254740993", "1" * 19, "9223372036854775807", "1.7e308"),
)
BEYOND = (
    "9" * 30,
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e19",
    "18446744073709552000",
)
"""Not in lists, where the engine rounds them (docs/query-language.md)."""
TEXTS = (
    "07",
    "007",
    "+7",
    "0x10",
    "NaN",
    "inf",
    "null",
    "",
    "[7]",
    "['7']",
    "{}",
    "7 ",
    " 7",
    "1e400",
    *NUMBERS,
    *BEYOND,
)
METADATA = (
    *(json.dumps({"v": text}) for text in TEXTS),
    *(json.dumps({"v": ["x", text]}) for text in TEXTS),
    *(f'{{"v":{number}}}' for number in NUMBERS + BEYOND),
    *(form.format(number) for number in NUMBERS for form in ('{{"v":[{}]}}', '{{"v":[[{}]]}}', '{{"v":["x",{}]}}')),
)


def rows() -> list[Row]:
    made = [texts(msgspec.Raw(text.encode())) for text in METADATA]
    return [row(n, metadata=text, search_text=searched) for n, (text, searched) in enumerate(made)]


@pytest.fixture(scope="module")
def reader() -> Iterator[StoreReader]:
    with embedded_store() as (store, engine):
        kept = rows()
        store.insert(kept[: len(kept) // 2], "t")
        engine.ask("OPTIMIZE TABLE events FINAL")
        store.insert(kept[len(kept) // 2 :], "u")
        yield store.reader()


@pytest.mark.parametrize("form", ['metadata.v:"{}"', 'metadata.v:>="{}"', 'metadata.v:<"{}"'])
def test_a_number_is_found_in_all_its_spellings_and_a_text_in_its_own(reader: StoreReader, form: str) -> None:
    questions = [form.format(text) for text in dict.fromkeys(TEXTS)]
    parameters = Parameters()
    found = ", ".join(f"groupArrayIf(offset, {condition(parse(text), parameters)})" for text in questions)
    (answer,) = reader.select(f"SELECT {found} FROM events", parameters.values, LIMITS, list[list[int]])  # noqa: S608
    subjects = [Subject(each) for each in rows()]
    for text, offsets in zip(questions, answer, strict=True):
        holds = predicate(parse(text))
        expected = [subject.row.metadata for subject in subjects if holds(subject)]
        assert [METADATA[offset] for offset in sorted(offsets)] == expected, text
