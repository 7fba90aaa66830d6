"""Ends and depths of values, from brackets and strings alone."""

import pytest

from parsec.api.event_rules import nests_deeper
from parsec.ingest.body.scan import has_more_keys, skip_blank, value_end


@pytest.mark.parametrize(
    "value",
    [
        b"{}", b"[]", b'{"a":{"b":[1,2]}}', b'"text"', b'"a\\"b]}"', b'"\\\\"', b"12.5e3", b"null", b'["]","}"]',
        b'{"a":"\\\\"}', b"{]", b"[" * 100_000 + b"]" * 100_000, b'["' + b"\\n" * 100_000 + b'"]', b'{"\xff\n":1}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("after", [b"", b" ", b",", b"]", b"\n{}"])
def test_the_end_of_a_value(value: bytes, after: bytes) -> None:
    body = b" " + value + after
    assert value_end(body, 1, len(body)) == 1 + len(value)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'"abc', b'"abc\\"', b'{"a', b'{"a":"}', b",", b"]", b":"])
def test_no_end(body: bytes) -> None:
    assert value_end(body, 0, len(body)) is None


def test_nothing_behind_the_given_end_is_read() -> None:
    assert value_end(b"[1]]", 0, 2) is None
    assert value_end(b"12345", 0, 3) == 3


def test_blanks() -> None:
    assert skip_blank(b" \t\r\n x ", 0, 7) == 5
    assert skip_blank(b"   ", 0, 3) == 3
    assert skip_blank(b"\x0b", 0, 1) == 0  # JSON knows four kinds of white space


@pytest.mark.parametrize("depth", [1, 2, 32, 33, 5000])
def test_depth(depth: int) -> None:
    value = b'{"a":[' * (depth // 2) + b"[" * (depth % 2) + b"]" * (depth % 2) + b"]}" * (depth // 2)
    assert not nests_deeper(value, depth)
    assert nests_deeper(value, depth - 1)


def test_brackets_side_by_side_or_in_strings_are_not_depth() -> None:
    assert not nests_deeper(b"[" + b"{}," * 1000 + b"{}]", 2)
    assert not nests_deeper(b'["' + b"[" * 1000 + b'"]', 1)


def test_keys_are_counted_at_the_top_only() -> None:
    three = b'{ "a" : {"x":1,"y":2}, "b\\"," : [1,2], "a":3 }'
    assert has_more_keys(three, 2)
    assert not has_more_keys(three, 3)
    assert not has_more_keys(b"{}", 1)
    assert not has_more_keys(b'{"a":', 1)
