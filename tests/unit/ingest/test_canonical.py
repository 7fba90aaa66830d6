"""Tenants, sources, severities."""

import pytest

from parsec.core.errors import Rejected
from parsec.core.severity import ALIASES, SEVERITIES
from parsec.ingest.canonical import (
    REMEMBERED,
    SEVERITY_NAMES,
    SOURCES,
    TENANTS,
    Memory,
    source_rule,
)


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


@pytest.mark.parametrize("text", ["loud", "8", "-1", "00", "30", "info!", "x" * 10_000])
def test_other_severities_are_refused_with_what_exists(text: str) -> None:
    with pytest.raises(Rejected, match="trace, debug, info, warn, error, fatal") as refused:
        SEVERITY_NAMES[text]
    assert refused.value.code == "invalid_severity"
    assert len(refused.value.message) < 200


def test_every_alias_leads_to_a_severity_and_no_spelling_to_two() -> None:
    assert set(ALIASES.values()) == set(SEVERITIES)
    assert all(ALIASES[name] == name for name in SEVERITIES)


@pytest.mark.parametrize("memory", [TENANTS, SOURCES, SEVERITY_NAMES])
@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_blank_is_missing(memory: Memory[str], text: str) -> None:
    with pytest.raises(Rejected) as refused:
        memory[text]
    assert refused.value.code == "missing_field"


def test_memory_is_bounded_in_entries_and_in_their_length() -> None:
    memory = Memory(source_rule)
    for n in range(REMEMBERED + 5):
        memory[f"Name-{n}"]
    assert len(memory) == 5
    assert memory[" " * 1000 + "a"] == "a"
    assert len(memory) == 5


def test_memory_asks_the_rule_once() -> None:
    asked: list[str] = []

    def rule(text: str) -> str:
        asked.append(text)
        return text.lower()

    memory = Memory(rule)
    assert [memory["A"], memory["A"]] == ["a", "a"]
    assert asked == ["A"]
