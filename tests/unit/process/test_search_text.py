"""Metadata keeps its text; keys stand once; huge numbers are searched as strings."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.process.search_text import is_plain, texts


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


SAME = [
    "{}",
    "{ }",
    '{"a":1.50,"b":-0.0,"c":1E5}',
    '{"a.b":1,"a":{"c":2}}',
    '{"a.b":1,"a":2}',
    '{"a":"[[x,{"}',
    '{"a":{"a":{"a":1}},"b":[1,"a",null]}',
    '{"url":"http://x:80/?a=1","t":"12:00","q":"\\":"}',
    '{"a" : 1, "b" :2}',
    '{"a":"\\u003a","b":"\\u0022:"}',
    '{"":{"":[]}}',
    '{"n":18446744073709551615,"m":-9223372036854775808}',
    '{"l":["x",1],"n":1234567890123456789,"m":"[1234567890123456789"}',
    '{"digits":"12345678901234567890123"}',
]


@pytest.mark.parametrize("text", SAME)
def test_each_key_once_is_left_as_it_is(text: str) -> None:
    assert texts(raw(text)) == (text, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1,"a":2}', '{"a":2}'),
        ('{"a":1.0,"b":{"c":1E2,"c":1.50},"a":"x"}', '{"a":"x","b":{"c":1.50}}'),
        ('{"a":[1,{"b":1,"b":[{"c":1,"c":2}]}]}', '{"a":[1,{"b":[{"c":2}]}]}'),
        ('{"a":1,"\\u0061":2}', '{"a":2}'),
        ('{"a":1,"a":2,"b":"\\u0022:"}', '{"a":2,"b":"\\u0022:"}'),
        ('{"a" :1,"b":2,"b":3}', '{"a":1,"b":3}'),
        ('{"a":1,"a":2,"b":"\\u003a"}', '{"a":2,"b":"\\u003a"}'),
    ],
)
def test_of_duplicate_keys_the_last_wins(text: str, expected: str) -> None:
    assert texts(raw(text))[0] == expected


@pytest.mark.parametrize(
    ("text", "searchable"),
    [
        ('{"a.b":1,"a":{"b":"x"},"c":[2]}', '{"a.b":[1,"x"],"c":[2]}'),
        ('{"a.b":null,"a":{"b":2}}', '{"a.b":2}'),
        ('{"a.b.c":1,"a":{"b":{"c":2},"b.c":[3]}}', '{"a.b.c":[1,2,3]}'),
        ('{"l":[[1,"a"],["b",[2]],[]]}', '{"l":[1,"a","b",2]}'),
        ('{"l":[1,{"a":"x"},null,{"a":{"b":1e400}}]}', '{"l":[1],"l.a":["x"],"l.a.b":["1e400"]}'),
        ('{"l":[{"a":[{"b":[{"c":1}]}]}],"m":[{}]}', '{"l.a.b.c":[1],"m":[]}'),
        ('{"l":[{"a":null}],"m":[[null]]}', '{"l":[],"m":[]}'),
        ('{"a.b":1.50,"a":{"b":18446744073709551616}}', '{"a.b":[1.5,"18446744073709551616"]}'),
        ('{"a.b":"\\u0041\\n","a":{"b":1e400}}', '{"a.b":["A\\n","1e400"]}'),
        ('{"l":[{"a":{"b":[{"c":1}]}}]}', '{"l.a.b.c":[1]}'),
        ('{"l":[{"a.b":1,"a":{"b":2}}]}', '{"l.a.b":[1,2]}'),
        ('{"a.b":9007199254740993,"a":{"b":1.5}}', '{"a.b":["9007199254740993",1.5]}'),
        ('{"l":[{"a":-9007199254740993}],"n":9007199254740993}', '{"n":9007199254740993,"l.a":["-9007199254740993"]}'),
        ('{"l":[[]],"k":1}', '{"k":1,"l":[]}'),
        (
            '{"items":[{"sku":"A1","n":2},{"sku":"B2","tags":["x"]}],"k":{"l":1}}',
            '{"k.l":1,"items.sku":["A1","B2"],"items.n":[2],"items.tags":["x"]}',
        ),
    ],
)
def test_an_object_with_odd_paths_is_searched_flat(text: str, searchable: str) -> None:
    assert texts(raw(text)) == (text, searchable)


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_line_breaks_between_tokens_go(end: str) -> None:
    assert texts(raw(f'{{"a":{end}1.0,{end}"b":"x\\n"}}'))[0] == '{"a":1.0,"b":"x\\n"}'


@pytest.mark.parametrize(
    ("number", "huge"),
    [
        ("18446744073709551616", True),
        ("-9223372036854775809", True),
        ("9" * 5000, True),
        ("1e400", True),
        ("-1.5e309", True),
        ("9007199254740993", True),
        ("-9007199254740993", True),
        ("9007199254740992", False),
        ("-9007199254740992", False),
        ("1e308", False),
        ("123456789012345678901234567890.5", False),
        ("1e-5000", False),
    ],
)
def test_numbers_beyond_all_types_are_searched_as_strings(number: str, huge: bool) -> None:
    text = f'{{"a":{{"b":[{number},1]}},"c":2}}'
    searchable = f'{{"a":{{"b":["{number}",1]}},"c":2}}' if huge else ""
    assert texts(raw(text)) == (text, searchable)


@pytest.mark.parametrize("text", ["[]", "null", '"x"', "1", "true"])
def test_anything_but_an_object_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="object"):
        texts(raw(text))


PAIRS = st.recursive(
    st.integers(-(2**70), 2**70) | st.sampled_from(["1e400", '"x:"', '"\\":"', "null", "1.0"]),
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(st.sampled_from("abc:"), inner), max_size=3),
    max_leaves=10,
)


def _written(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return "{" + ",".join(f'"{key}":{_written(item)}' for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return str(value)


@given(st.lists(st.tuples(st.sampled_from("abc:"), PAIRS), min_size=1, max_size=4))
def test_what_is_read_is_what_was_sent_and_plain_is_never_wrong(pairs: list[tuple[str, Any]]) -> None:
    written = _written(pairs)
    kept, _ = texts(raw(written))
    exact: dict[str, Any] = {"parse_float": str}
    assert json.loads(kept, **exact) == json.loads(written, **exact)
    seen: list[bool] = []
    json.loads(kept, object_pairs_hook=lambda pairs: seen.append(len(dict(pairs)) == len(pairs)))
    assert all(seen)
    if is_plain([raw(written)]):
        assert kept == written
