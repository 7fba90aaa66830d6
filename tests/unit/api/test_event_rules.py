"""What an event may be: each field alone, and the quick check of ingest against these rules."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from parsec.api.event_rules import (
    CACHE_ENTRIES,
    SEVERITY_NAMES,
    SOURCES,
    TENANTS,
    Cache,
    check_metadata,
    event_id,
    is_blank,
    message,
    severity,
    source,
    tenant,
)
from parsec.core.errors import Rejected
from parsec.core.severity import SEVERITIES, SEVERITY_ALIASES
from parsec.ingest.normalize import are_sound


@pytest.mark.parametrize(
    ("text", "name"), [(" ACME ", "acme"), ("a", "a"), ("9.a_b-c", "9.a_b-c"), ("X" * 64, "x" * 64)]
)
def test_tenants(text: str, name: str) -> None:
    assert TENANTS[text] == name


@pytest.mark.parametrize("text", ["-a", ".a", "_a", "a b", "a/b", "x" * 65, "ä", "\u212a", "a\x00", "a\nb"])
def test_other_tenants_are_refused(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        TENANTS[text]
    assert refused.value.code == "invalid_tenant_id"


def test_no_letter_that_is_ascii_only_in_lower_case_spells_another_tenant() -> None:
    assert "\u212a".lower() == "k"
    with pytest.raises(Rejected):
        TENANTS["ac\u212a"]


@pytest.mark.parametrize(("text", "name"), [(" API ", "api"), ("Ünï Cödé", "ünï cödé"), ("x" * 256, "x" * 256)])
def test_sources(text: str, name: str) -> None:
    assert SOURCES[text] == name


def test_a_source_is_measured_in_lower_case() -> None:
    assert len("İ".lower()) == 2
    with pytest.raises(Rejected) as refused:
        SOURCES["İ" * 129]
    assert refused.value.code == "invalid_source"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("INFO", "info"), ("Warning", "warn"), ("ERR", "error"), ("critical", "fatal"), ("notice", "info"),
        ("emerg", "fatal"), ("informational", "info"), ("verbose", "trace"), ("0", "fatal"), ("3", "error"),
        ("4", "warn"), ("6", "info"), ("7", "debug"), ("FATAL2", "fatal"), (" e ", "error"),
    ],
)  # fmt: skip
def test_severities(text: str, name: str) -> None:
    assert SEVERITY_NAMES[text] == name


@pytest.mark.parametrize("text", ["loud", "-1", "00", "25", "non-fatal", "x" * 10_000])
def test_other_severities_are_refused_with_what_exists(text: str) -> None:
    with pytest.raises(Rejected, match="trace, debug, info, warn, error, fatal") as refused:
        SEVERITY_NAMES[text]
    assert refused.value.code == "invalid_severity"
    assert len(refused.value.message) < 200


def test_every_alias_leads_to_a_severity_and_no_spelling_to_two() -> None:
    assert set(SEVERITY_ALIASES.values()) == set(SEVERITIES)
    assert all(SEVERITY_ALIASES[name] == name for name in SEVERITIES)


@pytest.mark.parametrize("cache", [TENANTS, SOURCES, SEVERITY_NAMES])
@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_blank_is_missing(cache: Cache[str], text: str) -> None:
    with pytest.raises(Rejected) as refused:
        cache[text]
    assert refused.value.code == "missing_field"


def test_a_cache_is_bounded_in_entries_and_in_their_length() -> None:
    cache = Cache(source)
    for n in range(CACHE_ENTRIES + 5):
        cache[f"Name-{n}"]
    assert len(cache) == 5
    assert cache[" " * 1000 + "a"] == "a"
    assert len(cache) == 5


def test_a_cache_asks_the_rule_once() -> None:
    asked: list[str] = []

    def rule(text: str) -> str:
        asked.append(text)
        return text.lower()

    cache = Cache(rule)
    assert [cache["A"], cache["A"]] == ["a", "a"]
    assert asked == ["A"]


@pytest.mark.parametrize("text", ["e", " ", "\0", "ä" * 128])
def test_ids(text: str) -> None:
    assert event_id(text) == text


@pytest.mark.parametrize(("text", "code"), [("", "missing_field"), ("i" * 129, "invalid_id")])
def test_other_ids_are_refused(text: str, code: str) -> None:
    with pytest.raises(Rejected) as refused:
        event_id(text)
    assert (refused.value.code, refused.value.field) == (code, "id")


def test_a_message_loses_one_line_end() -> None:
    assert [message(text) for text in (" a b\n", "a\r\n", "a\n\n", "a\r", " \t\n", "")] == [
        " a b", "a", "a\n", "a\r", "", "",
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "metadata", "blank"), [
    ("", b"{}", True), (" \n", b"{ \n}", True), ("", b'{"":0}', False), ("a", b"{}", False), ("\0", b"{}", False),
])  # fmt: skip
def test_an_event_that_says_nothing_is_blank(text: str, metadata: bytes, blank: bool) -> None:
    assert is_blank(text, metadata) == blank


TEXTS = st.text(st.characters(codec="utf-8")) | st.sampled_from([*SEVERITY_ALIASES])


@given(st.sampled_from([tenant, source, severity]), TEXTS)
def test_a_canonical_form_is_its_own(rule: Any, text: str) -> None:
    try:
        canonical = rule(text)
    except Rejected:
        return
    assert rule(canonical) == canonical


VALUES = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.text(max_size=2), VALUES, max_size=3)
WIDE = st.integers(250, 260).map(lambda count: {str(n): 0 for n in range(count)})
DEEP = st.integers(30, 35).map(lambda depth: json.loads('{"a":' * depth + "1" + "}" * depth))


RAWS = (OBJECTS | WIDE | DEEP | VALUES).map(lambda one: Raw(json.dumps(one).encode()))


@given(st.lists(RAWS, min_size=1, max_size=4))
def test_ingest_passes_no_column_of_metadata_with_an_object_that_breaks_a_rule(column: list[Raw]) -> None:
    if are_sound(column):
        for raw in column:
            check_metadata(bytes(raw))
