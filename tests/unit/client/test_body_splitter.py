"""Cutting a stream into events: any layout, any chunk size, nothing changed, nothing lost."""

import io
import json
import os
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsec.client.body_splitter import MAX_INPUT_EVENT_BYTES, BodySource, Kind, bodies, events_of, kind_of
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
    source = BodySource(cast("BinaryIO", Dribble(content, step)))
    return [piece for piece in events_of(source, kind, lambda line: b"T:" + line) if piece is not None]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
events = st.lists(st.dictionaries(st.text(min_size=1, max_size=4), json_values, min_size=1, max_size=4), min_size=1)
LAYOUTS: dict[str, Callable[[list[Any]], str]] = {
    "array": json.dumps,
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
        (b'{"events":[{"a":1}], "x":{"y":[1]}}\n{"b":2}', [b'{"a":1}', b', "x":{"y":[1]}', b'{"b":2}']),
        (b'{"events":[]} {"b":2}', [b'{"b":2}']),
        (b'[{"a":"x\ny",\n"b":1}]', [b'{"a":"x\vy", "b":1}']),
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


def test_bodies_close_by_events_by_bytes_and_at_a_pause() -> None:
    assert list(bodies([b"a", b"b", b"c"], 2)) == [b"a\nb", b"c"]
    assert list(bodies([b"aaaa", b"bbbb", b"c" * 50, b"d"], 100, 10)) == [
        b"aaaa\nbbbb",
        b"c" * 50,
        b"d",
    ]
    assert list(bodies([b"a", None, None, b"b"], 100)) == [b"a", b"b"]
    assert list(bodies([], 100)) == []


@pytest.mark.parametrize("begin", [b'{"a":"', b'[{"a":"', b"word "])
def test_an_event_without_an_end_is_refused_before_it_fills_the_memory(begin: bytes) -> None:
    content = begin + b"x" * (MAX_INPUT_EVENT_BYTES + (1 << 16))
    with pytest.raises(Rejected, match="larger than 16 MiB") as caught:
        cut(content)
    assert caught.value.code == "event_too_large"


def test_a_pipe_that_pauses_gives_up_what_it_has() -> None:
    reading, writing = os.pipe()
    paused = threading.Event()
    got: list[bytes | None] = []
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:

        def read() -> None:
            for piece in events_of(BodySource(stream), None, bytes):
                got.append(piece)
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
