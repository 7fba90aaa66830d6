"""One definition of a word: the table's column and index are made of what the tokenizer uses."""

from importlib.resources import files

from parsec.query.sql.words import WORDS, column

MIGRATIONS = files("parsec.adapters.store.migrations")


def test_the_table_makes_its_words_of_the_same_definition() -> None:
    table = MIGRATIONS.joinpath("0006_events_by_second.sql").read_text(encoding="utf-8")
    assert f"words String\n        MATERIALIZED {column()}\n" in table
    assert f"INDEX message_words {WORDS}\n" in table
