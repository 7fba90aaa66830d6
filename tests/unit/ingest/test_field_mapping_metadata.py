"""Metadata comes back as sent: limits, one line, unknown fields beside it."""

import json

import pytest
from msgspec import Raw

from parsec.core.errors import Rejected
from parsec.ingest.body.fast_path import Fields
from parsec.ingest.field_mapping import check, join
from parsec.ingest.normalize import are_sound

LIMIT = 1 << 18

EXACT = [
    b"{}", b'{ "a" : 1 }', b'{"a":1.50,"b":1e400,"c":-0,"d":123456789012345678901234567890}', b'{"a":1,"a":2}',
    b'{"":"","\\u0000":"\\u0000"}', b'{"a":"\\u00e9\xc3\xa9\\/\\n"}', b'{"a":[1,[2,{"b":[]}]],"c":{"d":null}}',
    b'{"a":"[[[[[{{{{{"}', b"{\t}",
]  # fmt: skip


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def keys(count: int) -> bytes:
    return b"{" + b",".join(b'"%d":0' % n for n in range(count)) + b"}"


def fields(**values: bytes) -> Fields:
    return {name: Raw(text) for name, text in values.items()}


@pytest.mark.parametrize("text", EXACT)
def test_what_is_sent_comes_back(text: bytes) -> None:
    assert check(text, LIMIT) == text


def test_line_breaks_go_and_nothing_else_changes() -> None:
    text = b'{\r\n "a": 1.50,\n "b": [1e400, "\\n\xc3\xa9 x" ],\n "a": 123456789012345678901234567890 }'
    assert check(text, LIMIT) == b'{"a":1.50,"b":[1e400,"\\n\xc3\xa9 x"],"a":123456789012345678901234567890}'


@pytest.mark.parametrize("text", [b"[]", b'"{}"', b"1", b"true", b"null"])
def test_only_objects(text: bytes) -> None:
    with pytest.raises(Rejected) as checked:
        check(text, LIMIT)
    with pytest.raises(Rejected) as joined:
        join(text, fields(a=b"1"), LIMIT)
    for refused in (checked, joined):
        assert (refused.value.code, refused.value.field) == ("invalid_metadata", "metadata")


def test_depth() -> None:
    assert check(nested(32), LIMIT) == nested(32)
    with pytest.raises(Rejected) as refused:
        check(nested(33), LIMIT)
    assert refused.value.code == "too_deep"


def test_keys() -> None:
    assert check(keys(256), LIMIT) == keys(256)
    with pytest.raises(Rejected) as refused:
        check(keys(257), LIMIT)
    assert refused.value.code == "too_many_keys"
    wide = b'{"a":' + keys(1000) + b"}"
    assert check(wide, LIMIT) == wide


def test_the_shortest_object_of_too_many_keys_is_seen() -> None:
    short = b"{" + b",".join(b'"%c":0' % (n + 33) for n in range(90) if n + 33 not in b'"\\') + b"}"
    assert check(short, LIMIT) == short
    names = [chr(33 + n) for n in range(60)] + [chr(0x100 + n) for n in range(200)]
    text = json.dumps({name: 0 for name in names if name not in '"\\'}, separators=(",", ":"), ensure_ascii=False)
    with pytest.raises(Rejected):
        check(text.encode(), LIMIT)


def test_far_too_large_is_told_before_it_is_looked_into() -> None:
    with pytest.raises(Rejected) as refused:
        check(b'{"a":"' + b"x" * 5000 + b'"}', 1000)
    assert refused.value.code == "event_too_large"


FLAT = [b"{}", b'{"a":1}', b'{"b":"x y"}']


@pytest.mark.parametrize(
    ("odd", "sound"),
    [
        (b'{"a":{"b":1}}', True), (b'{"a":[1]}', True), (nested(32), True), (nested(33), False),
        (b"1", False), (b"", False), (b"null", False), (b"[]", False),
        (b'"{"', False), (b'{\n"a":1}', False), (b'{"a":\n{}}', False), (b'{"a":1\r}', False), (keys(256), False),
        (keys(100), True), (b'{"a":"}"}', True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_column_is_sound_when_each_is_a_small_object_on_one_line(odd: bytes, sound: bool, at: int) -> None:
    column = [Raw(text) for text in [*FLAT[:at], odd, *FLAT[at:]]]
    assert are_sound(column) is sound


def test_two_wrongs_do_not_make_a_sound_column() -> None:
    assert not are_sound([Raw(b'{"a":\n{"b":1}}'), Raw(b"5")])
    assert not are_sound([Raw(b"5"), Raw(b'{"a":\n{"b":1}}')])


@pytest.mark.parametrize(
    ("own", "unknown", "joined"),
    [
        (b"{}", fields(a=b"1"), b'{"a":1}'),
        (b"{ }", fields(a=b"1"), b'{"a":1}'),
        (b'{"x":1.0}', fields(a=b"1e400", b=b'"\\u00e9"'), b'{"x":1.0,"a":1e400,"b":"\\u00e9"}'),
        (b'{"a":1}', fields(a=b"2"), b'{"a":1,"_a":2}'),
        (b'{"a":1,"_a":2}', fields(a=b"3"), b'{"a":1,"_a":2,"__a":3}'),
        (b'{"a":1}', fields(a=b"2", _a=b"3"), b'{"a":1,"__a":2,"_a":3}'),
        (b'{"a":1,"_a":2}', fields(a=b"3", _a=b"4"), b'{"a":1,"_a":2,"__a":3,"___a":4}'),
        (b'{"\\u0061":1}', fields(a=b"2"), b'{"\\u0061":1,"_a":2}'),
        (b"{}", {'q"\n\x00é': Raw(b"1")}, '{"q\\"\\n\\u0000é":1}'.encode()),
        (b"{}", {"": Raw(b"1")}, b'{"":1}'),
    ],
)
def test_join(own: bytes, unknown: Fields, joined: bytes) -> None:
    assert join(own, unknown, LIMIT) == joined
    assert join(own, unknown, LIMIT) == joined  # names from memory


def test_join_counts_its_unknown_fields() -> None:
    with pytest.raises(Rejected) as refused:
        join(b"{}", {str(n): Raw(b"0") for n in range(257)}, LIMIT)
    assert refused.value.code == "too_many_keys"
