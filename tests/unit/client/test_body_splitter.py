"""Cutting a stream into events: any layout, any chunk size, nothing changed, nothing lost."""

import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsec.client.body_splitter import (
    MAX_INPUT_VALUE_BYTES,
    BodySource,
    Kind,
    batches,
    kind_of,
    pieces_of,
)
from parsec.client.json_splitter import Piece, values_in
from parsec.core.errors import Rejected


class Dribble(io.RawIOBase):
    """A stream that gives a few bytes at a time."""

    def __init__(self, content: bytes, step: int) -> None:
        self._rest = content
        self._step = step

    def read(self, _size: int = -1, /) -> bytes:
        given, self._rest = self._rest[: self._step], self._rest[self._step :]
        return given


def cut(content: bytes, kind: Kind | None = None, step: int = 1 << 20) -> list[bytes]:
    return [b"T:" * piece.is_text + piece.data for piece in pieces(content, kind, step)]


def pieces(content: bytes, kind: Kind | None = None, step: int = 1 << 20) -> list[Piece]:
    source = BodySource(cast("BinaryIO", Dribble(content, step)))
    return [piece for piece in pieces_of(source.chunks(), kind) if piece is not None]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
events = st.lists(st.dictionaries(st.text(min_size=1, max_size=4), json_values, min_size=1, max_size=4), min_size=1)
LAYOUTS: dict[str, Callable[[list[Any]], str]] = {
    "array": json.dumps,
    "values on lines of their own": lambda found: "\n".join(json.dumps(one, separators=(",", ":\n")) for one in found),
    "pretty array": lambda found: json.dumps(found, indent=2),
    "events": lambda found: json.dumps({"events": found}),
    "pretty events": lambda found: json.dumps({"events": found}, indent=1),
    "lines": lambda found: "".join(json.dumps(one) + "\n" for one in found),
    "lines without the last break": lambda found: "\n\n".join(json.dumps(one) for one in found),
    "lines with commas": lambda found: ",\n".join(json.dumps(one) for one in found),
    "pretty objects": lambda found: "\n".join(json.dumps(one, indent=2) for one in found),
    "two arrays": lambda found: json.dumps(found[:1]) + "\n" + json.dumps({"events": found[1:]}),
    "unescaped": lambda found: json.dumps(found, ensure_ascii=False),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25)
@given(found=events, step=st.integers(1, 40))
def test_every_layout_gives_the_same_events_each_on_one_line(layout: str, found: list[Any], step: int) -> None:
    content = LAYOUTS[layout](found).encode("utf-8", "surrogatepass")
    pieces = cut(content, "json", step)
    assert [json.loads(piece) for piece in pieces] == found
    assert not any(b"\n" in piece for piece in pieces)


def test_bytes_of_an_event_stay_as_they_are() -> None:
    event = b'{"n": 123456789012345678901234567890 , "n":1.10, "s":"\\u0041\xff"}'
    assert cut(b"[" + event + b"]") == [event]
    assert cut(event + b"\n" + event) == [event, event]


@pytest.mark.parametrize(
    ("content", "pieces"),
    [
        (b'{"a":1}\n{"b":\n{"c":2}\n', [b'{"a":1}', b'{"b":', b'{"c":2}']),
        (b'{"a\n{"c":2}\n', [b'{"a', b'{"c":2}']),
        (b'[{"a":1},tru,{"b":2}', [b'{"a":1}', b"tru", b'{"b":2}']),
        (b'[{"a":1}]}{"b":2}', [b'{"a":1}', b"}", b'{"b":2}']),
        (b'[{"a":"cut', [b'{"a":"cut']),
        (b'{"events":[{"a":1}', [b'{"a":1}']),
        (b'{"events":[{"a":1}],\n"x":{"y":[1]}}\n{"b":2}', [b'{"a":1}', b', "x":{"y":[1]}', b'{"b":2}']),
        (b'{"events":[{"a":1}],"message":"m"}\n{"b":2}', [b'{"events":[{"a":1}],"message":"m"}', b'{"b":2}']),
        (b'{"Records":[{"a":1},\n{"b":2}]}', [b'{"a":1}', b'{"b":2}']),
        (b'{"events":[]} {"b":2}', [b'{"b":2}']),
        (b'[{"a":"x\ny",\n"b":1}]', [b'{"a":"x\vy", "b":1}']),
        (b'{"a": [\n{"b":2}\n{"c":3}\n{"d":4}\n', [b'{"a": [', b'{"b":2}', b'{"c":3}', b'{"d":4}']),
        (b'{"a": [\n{"b":2}\n', [b'{"a": [', b'{"b":2}']),
        (b'{"a":"x, {\n{"b":2}\n{"c":3}', [b'{"a":"x, {', b'{"b":2}', b'{"c":3}']),
        (
            b'{\n{"b":2}\n{"c":3}\n{"d":[\n{"e":5}\n{"f":6}\n',
            [b"{", b'{"b":2}', b'{"c":3}', b'{"d":[', b'{"e":5}', b'{"f":6}'],
        ),
        (b'{"items": [\n{"b":2},\n{"c":3}\n]\n}\n{"d":4}', [b'{"items": [ {"b":2}, {"c":3} ] }', b'{"d":4}']),
        (b'[\n{"b":2}\n{"c":3}\n', [b'{"b":2}', b'{"c":3}']),
        (b"[]", []),
        (b" \n\t\n", []),
        (b"", []),
    ],
)
def test_broken_input_is_cut_where_it_can_be_and_passed_on(content: bytes, pieces: list[bytes]) -> None:
    for step in (1, 3, 1000):
        assert cut(content, "json", step) == pieces


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"hello", "text"),
        (b"[2026-11-23] started", "text"),
        (b"  [ {", "json"),
        (b"[]", "json"),
        (b"\xef\xbb\xbf{", "json"),
        (b"\n\n{}", "json"),
        (b"", "text"),
    ],
)
def test_kind_is_seen_from_the_first_characters(head: bytes, kind: Kind) -> None:
    assert kind_of(head) == kind


def test_text_lines_are_wrapped_and_blank_ones_left_out() -> None:
    assert cut(b"one\r\n\n  two \n\nthree") == [b"T:one", b"T:  two ", b"T:three"]
    assert cut(b'{"a":1}\n', "text") == [b'T:{"a":1}']


def test_a_byte_order_mark_belongs_to_no_event() -> None:
    assert cut(b'\xef\xbb\xbf{"a":1}') == [b'{"a":1}']
    assert cut(b"\xef\xbb\xbfone\n") == [b"T:one"]


def batched(parts: list[bytes | None], max_events: int, max_bytes: int = 1 << 20) -> list[list[bytes]]:
    given = [None if part is None else Piece(part, 1) for part in parts]
    return [[piece.data for piece in batch] for batch in batches(given, max_events, max_bytes)]


def test_batches_close_by_events_by_bytes_and_at_a_pause() -> None:
    assert batched([b"a", b"b", b"c"], 2) == [[b"a", b"b"], [b"c"]]
    assert batched([b"aaaa", b"bbbb", b"c" * 50, b"d"], 100, 10) == [[b"aaaa", b"bbbb"], [b"c" * 50], [b"d"]]
    assert batched([b"a", None, None, b"b"], 100) == [[b"a"], [b"b"]]
    assert batched([], 100) == []


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b'{"a":1}\n\n{"a":2}\r\n{"a":3}', [1, 3, 4]),
        (b"\n\none\n\ntwo\n", [3, 5]),
        (b"[\n {},\n\n {\n}, {}\n]", [2, 4, 5]),
        (b'{"events": [\n{"a":\n1},\n{"b":2}]}\n{"c":3}', [2, 4, 5]),
        (b'{\n"a":1\n}\n{\n"a":2\n}', [1, 4]),
    ],
)
def test_each_piece_knows_its_line(content: bytes, lines: list[int]) -> None:
    for step in (1, 3, 1000):
        assert [piece.line for piece in pieces(content, None, step)] == lines


@pytest.mark.parametrize("layout", ["pretty array", "pretty events", "lines", "pretty objects", "lines with commas"])
@settings(max_examples=25)
@given(found=events, step=st.integers(1, 40))
def test_an_event_is_found_on_its_line(layout: str, found: list[Any], step: int) -> None:
    content = LAYOUTS[layout](found).encode()
    rows = content.split(b"\n")
    for piece in pieces(content, "json", step):
        assert piece.data[:1] in rows[piece.line - 1]


def test_values_are_counted() -> None:
    assert values_in(b'{"a":1}{"a":2} {"b":{}}') == 3
    assert values_in(b'{"a":"}{"}') == 1
    assert values_in(b"[{},{}]") == 2
    assert values_in(b"broken") == 1


@pytest.mark.parametrize(("begin", "kind"), [(b"word ", "text"), (b'{"a":"', "json")])
def test_a_line_without_an_end_is_left_out_before_it_fills_the_memory(
    begin: bytes, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parsec.client.body_splitter.MAX_INPUT_EVENT_BYTES", 1 << 20)
    monkeypatch.setattr("parsec.client.body_splitter.MAX_INPUT_VALUE_BYTES", 1 << 20)
    first, long, last = pieces(b"{}\n" + begin + b"x" * (3 << 20) + b"\n{}\n", kind, 1 << 16)
    assert (first.data, first.line, last.data, last.line) == (b"{}", 1, b"{}", 3)
    assert (long.data, long.line) == (b"", 2)
    assert long.fault == "an event is larger than 1 MiB; remove it, or split what it holds"


def test_a_value_without_an_end_is_refused_before_it_fills_the_memory() -> None:
    endless = chain((b'[{"a":"',), repeat(b"x" * (1 << 16), MAX_INPUT_VALUE_BYTES >> 15))
    with pytest.raises(Rejected, match="larger than 64 MiB") as caught:
        list(pieces_of(endless, None))
    assert caught.value.code == "event_too_large"


def test_long_lists_are_split_while_they_are_read() -> None:
    read = 0

    def chunks() -> Iterator[bytes]:
        nonlocal read
        yield b'{"Records":['
        for _ in range(3_000):
            read += 1
            yield b'{"a":"' + b"x" * 1_000 + b'"},'

    found = pieces_of(chunks(), None)
    assert next(found) == Piece(b'{"a":"' + b"x" * 1_000 + b'"}', 1)
    assert read < 1_200


def test_a_pipe_that_pauses_gives_up_what_it_has() -> None:
    reading, writing = os.pipe()
    paused = threading.Event()
    got: list[bytes | None] = []
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:

        def read() -> None:
            for piece in pieces_of(BodySource(stream).chunks(), None):
                got.append(piece and piece.data)
                if piece is None:
                    paused.set()

        thread = threading.Thread(target=read)
        thread.start()
        pipe.write(b"one\ntwo\nthr")
        assert paused.wait(30)
        pipe.write(b"ee\n")
        pipe.close()
        thread.join()
    assert got[:3] == [b"one", b"two", None]
    assert got[-1] == b"three"


def test_size_is_known_for_a_file_only(tmp_path: Any) -> None:
    path = tmp_path / "events"
    path.write_bytes(b"12345")
    with path.open("rb") as file:
        assert BodySource(file).size == 5
    assert BodySource(io.BytesIO(b"12345")).size is None
