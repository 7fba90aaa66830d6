"""Sizes and times, there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.core.units import Unit, parse_quantity, show_quantity


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("64MiB", "bytes", 64 << 20),
        ("1.5 kib", "bytes", 1536),
        ("2GB", "bytes", 2 * 10**9),
        ("17", "bytes", 17),
        ("10m", "seconds", 600),
        ("250ms", "seconds", 0.25),
        ("1.5h", "seconds", 5400),
        ("2w", "seconds", 14 * 86400),
        ("30", "seconds", 30),
        ("100", "milliseconds", 100),
        ("123456789012345678901", "", 123456789012345678901),
    ],
)
def test_texts_mean_what_they_say(text: str, unit: Unit, value: float) -> None:
    assert parse_quantity(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit"),
    [("", ""), ("-1", "bytes"), ("1e3", "bytes"), ("nan", "seconds"), ("10M", "seconds"), ("5s", "bytes"),
     ("10ms", "milliseconds"), ("\u0661", ""), ("1 2", "")],
)  # fmt: skip
def test_anything_else_is_an_error_with_an_example(text: str, unit: Unit) -> None:
    with pytest.raises(ValueError, match=r"a (number|size|time) such as \d"):
        parse_quantity(text, unit)


@given(st.integers(0, 1 << 45), st.sampled_from(["bytes", "seconds", "milliseconds", ""]))
def test_what_is_shown_is_read_back(value: int, unit: Unit) -> None:
    assert parse_quantity(show_quantity(value, unit), unit) == value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(64 << 20, "bytes", "64MiB"), (1000, "bytes", "1000"), (0, "bytes", "0"), (600.0, "seconds", "10m"),
     (0.1, "seconds", "0.1s"), (90.0, "seconds", "90s"), (30 * 86400.0, "seconds", "30d"), (True, "", "true"),
     ("x", "", "x"), (100, "milliseconds", "100")],
)  # fmt: skip
def test_values_are_shown_as_a_person_writes_them(value: object, unit: Unit, text: str) -> None:
    assert show_quantity(value, unit) == text
