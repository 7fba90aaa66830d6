"""Syntax trees and their conditions in SQL, by hand."""

import pytest

from parsec.query.language.ast import Node
from parsec.query.language.parse import parse
from parsec.query.sql.columns import Parameters, Value
from parsec.query.sql.compile import condition
from parsec.query.sql.words import WORDS

NOON = 1_795_435_200_000_000_000  # 2026-11-23T12:00:00Z
LETTER, SEPARATOR = r"[0-9a-z\x{80}-\x{10FFFF}]", r"[^0-9a-z\x{80}-\x{10FFFF}]"


def compiled(node: Node | str) -> tuple[str, list[Value]]:
    parameters = Parameters()
    sql = condition(parse(node) if isinstance(node, str) else node, parameters)
    return sql, list(parameters.values.values())


@pytest.mark.parametrize(("q", "sql", "values"), [
    ("", "1", []),
    ("id:a", "(id = {v0:String})", ["a"]),
    ("id:a id:b", "((id = {v0:String}) AND (id = {v1:String}))", ["a", "b"]),
    ("id:a OR id:a", "((id = {v0:String}) OR (id = {v0:String}))", ["a"]),  # the same value is sent once
    ("NOT (id:a OR id:b)", "(NOT ((id = {v0:String}) OR (id = {v1:String})))", ["a", "b"]),
    ("id:\"'; DROP TABLE events --\"", "(id = {v0:String})", ["'; DROP TABLE events --"]),
])  # fmt: skip
def test_terms_are_joined_and_values_are_bound(q: str, sql: str, values: list[Value]) -> None:
    assert compiled(q) == (sql, values)


@pytest.mark.parametrize(("q", "sql", "values"), [
    ("source:api-*", "startsWith(source, {v0:String})", ["api-"]),
    ("source:a*b", "(source LIKE {v0:String})", ["a%b"]),
    (r"source:*50%_\\*", "(source LIKE {v0:String})", [r"%50\%\_\\%"]),
    ("source:/^a/", "match(source, {v0:String})", ["^a"]),
    ("source:>=b", "(source >= {v0:String})", ["b"]),
    ("source:{a TO b]", "(source > {v0:String} AND source <= {v1:String})", ["a", "b"]),
    ("source:*", "1", []),  # always there
    ("region:*", "(region != '')", []),
    ("severity:>=error", "(severity IN {v0:Array(String)})", [["error", "fatal"]]),
    ("severity:>fatal", "0", []),
    ("timestamp:>2026-11-23T12:00:00Z", "(timestamp > fromUnixTimestamp64Nano({v0:Int64}, 'UTC'))", [NOON]),
    ("received_at:2026-11-23T12:00:00Z",
     "(received_at >= fromUnixTimestamp64Nano({v0:Int64}, 'UTC')"
     " AND received_at <= fromUnixTimestamp64Nano({v0:Int64}, 'UTC'))", [NOON]),
])  # fmt: skip
def test_a_column_is_compared(q: str, sql: str, values: list[Value]) -> None:
    assert compiled(q) == (sql, values)


@pytest.mark.parametrize(("q", "sql", "values"), [
    ("Timed", f"hasAllTokens({WORDS}, {{v0:Array(String)}})", [["timed"]]),
    ('"timed out"', f"hasPhrase({WORDS}, {{v0:String}})", ["timed out"]),
    ("user_id", f"hasPhrase({WORDS}, {{v0:String}})", ["user id"]),
    ("\u00d8l", f"hasAllTokens({WORDS}, {{v0:Array(String)}})", [["\u00f8l"]]),
    ("\u00dcber", f"(hasAllTokens({WORDS}, {{v0:Array(String)}}) OR hasAllTokens({WORDS}, {{v1:Array(String)}}))",
     [["\u00fcber"], ["u\u0308ber"]]),  # composed, and decomposed
    ("\u767b\u5f55", f"hasPhrase({WORDS}, {{v0:String}})", ["\u767b \u5f55"]),
    ("*time*", f"({WORDS} LIKE {{v0:String}})", ["%time%"]),
    ("time*", f"({WORDS} LIKE {{v0:String}} AND match({WORDS}, {{v1:String}}))",
     ["%time%", f"(?:^|{SEPARATOR})time"]),
    ("*out", f"({WORDS} LIKE {{v0:String}} AND match({WORDS}, {{v1:String}}))",
     ["%out%", f"out(?:$|{SEPARATOR})"]),
    ("10.0.*", f"({WORDS} LIKE {{v0:String}} AND match({WORDS}, {{v1:String}}))",
     ["%10%", f"(?:^|{SEPARATOR})10{SEPARATOR}+0{SEPARATOR}+{LETTER}+(?:$|{SEPARATOR})"]),
    ("*", "1", []),
])  # fmt: skip
def test_words_use_the_word_index_where_it_decides(q: str, sql: str, values: list[Value]) -> None:
    assert compiled(q) == (sql, values)


@pytest.mark.parametrize(("pattern", "guarded"), [
    ("a.b", False), ("(?i)a+", False), ("[a-z]{2}", False), (r"\d\.\w", False), ("\u00fcb", False),
    (r"\x41bc", True), (r"\pLbc", True), (r"\101bc", True), (r"\Qa|b\E", True), ("[]a]cd", True), ("[^]a]cd", True),
    ("\u00fc*", True), ("a(?s)?b", True),
])  # fmt: skip
def test_a_pattern_that_the_engine_misreads_gets_an_alternative_that_never_matches(pattern: str, guarded: bool) -> None:
    assert compiled(f"source:/{pattern}/") == (
        "match(source, {v0:String})", [r"[^\s\S]|" + pattern if guarded else pattern]
    )  # fmt: skip


def of(kind: str, name: str = "v0") -> str:
    return f"dynamicElement(materialize(attributes.{{{name}:Identifier}}), '{kind}')"


def any_of(kind: str, holds: str, name: str = "v0") -> str:
    return f"arrayExists(x -> ifNull({holds}, 0), {of(f'Array(Nullable({kind}))', name)})"


def test_a_text_of_metadata_is_found_alone_or_in_a_list() -> None:
    assert compiled("metadata.host:web") == (
        f"(ifNull({of('String')} = {{v1:String}}, 0) OR {any_of('String', 'x = {v1:String}')}"
        f" OR arrayExists(m -> ifNull(dynamicElement(m, 'String') = {{v1:String}}, 0), {of('Array(Dynamic)')}))",
        ["host", "web"],
    )


def test_a_number_of_metadata_is_found_as_text_and_as_any_number() -> None:
    sql, values = compiled("metadata.n:7")
    assert sql.startswith(
        "(ifNull(CAST(materialize(attributes.{v0:Identifier}), 'Nullable(String)') = {v1:String}, 0)"
        f" OR {any_of('String', 'x = {v1:String}')} OR {any_of('Int64', 'x = {v2:Int64}')} OR "
    )
    assert values == ["n", "7", 7]


@pytest.mark.parametrize(
    ("text", "wanted"), [("7.0", 0x401C000000000000), ("-0", 0), ("9007199254740993", (1 << 53) + 1)]
)
def test_a_number_with_several_spellings_is_compared_as_a_number(text: str, wanted: int) -> None:
    sql, values = compiled(f"metadata.n:{text}")
    assert f"ifNull({of('String')} = {{v1:String}} OR {of('Int64')} = " in sql
    assert values == ["n", text, wanted]


@pytest.mark.parametrize("text", ["007", "+7", "0x10", "1e", "7.", ".5", "00", "--7", "1e400"])
def test_what_json_would_not_read_as_a_number_is_a_text(text: str) -> None:
    sql, values = compiled(f"metadata.zip:{text}")
    assert ("Int64" in sql, values) == (False, ["zip", text])


def test_a_boolean_of_metadata_is_found_as_text_and_as_boolean() -> None:
    sql, _ = compiled("metadata.ok:true")
    assert f" OR {any_of('Bool', 'x = true')} OR " in sql


def test_a_range_of_metadata_compares_numbers_and_texts_that_spell_one() -> None:
    sql, values = compiled("metadata.ms:[1 TO 2.5}")
    bits = "reinterpretAsFloat64({v2:UInt64})"
    assert sql.startswith(f"(arrayExists(x -> ifNull((x >= {{v1:Int64}} AND x < {bits}), 0), arrayConcat([coalesce(")
    assert f"toFloat64OrNull({of('String')})" in sql
    assert f"CAST({of('Array(Nullable(Int64))')}, 'Array(Nullable(Float64))')" in sql
    assert values == ["ms", 1, 0x4004000000000000]


def test_a_limit_that_doubles_cannot_tell_apart_is_compared_with_each_type() -> None:
    sql, _ = compiled("metadata.n:>9007199254740993")
    assert sql.startswith(f"(ifNull(({of('Int64')} > {{v1:Int64}}) OR ({of('UInt64')} > {{v1:Int64}}) OR ")


def test_a_range_of_texts_of_metadata_compares_texts_only() -> None:
    sql, values = compiled("metadata.v:[a TO b]")
    assert sql.startswith(f"(ifNull(({of('String')} >= {{v1:String}} AND {of('String')} <= {{v2:String}}), 0) OR ")
    assert ("Int64" in sql, values) == (False, ["v", "a", "b"])


def test_a_wildcard_of_metadata_also_matches_the_digits_of_numbers() -> None:
    sql, values = compiled("metadata.status:50*")
    assert "startsWith(if(dynamicType(" in sql
    assert any_of("Float64", "startsWith(toString(x), {v1:String})") in sql
    assert values[:2] == ["status", "50"]


def test_a_path_exists_as_a_value_or_as_an_object() -> None:
    assert compiled("metadata.user:*") == (
        "(isNotNull(attributes.{v0:Identifier}) OR notEmpty(getSubcolumn(attributes, concat('^`', {v1:String}, '`'))))",
        ["user", "user"],
    )
