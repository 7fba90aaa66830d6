"""Shapes of bodies: what becomes an event, what gets a verdict, what refuses the whole."""

import bz2
import gzip
import lzma
import tracemalloc
import zlib
from collections.abc import Callable, Sequence

import pytest

from parsec.core.errors import Rejected
from parsec.ingest.body.decode import chunks
from parsec.ingest.body.fast_path import QUICK_BYTES, SLICE_BYTES, Event, Fault, Item, WideEvent
from tests.support.ingesting import compact, event, lines, take


def items(body: bytes, max_events: int = 10_000) -> list[Item]:
    return [item for piece in chunks(body, max_events) for item in piece.items]


def told(found: Sequence[Item]) -> list[str]:
    """Ids, and the codes of faults."""
    names = []
    for item in found:
        if isinstance(item, Fault):
            names.append(item.code)
        elif isinstance(item, Event):
            names.append(item.id)
        else:
            fields = item.fields if isinstance(item, WideEvent) else item
            names.append(bytes(fields["id"]).decode().strip('"'))
    return names


def refusal(body: bytes, max_events: int = 10_000) -> Rejected:
    with pytest.raises(Rejected) as refused:
        items(body, max_events)
    return refused.value


A, B, C = (b'{"id":"%b"}' % name for name in (b"a", b"b", b"c"))
ODD = b'{"id":"o","host":1}'
HALF = b'{"id":"h","x":"\\ud800"}'
BINARY = b'{"id":"u","x":"\xff"}'
PRETTY = b'{\n "id": "p",\n "metadata": {\n  "a": [\n   1\n  ]\n }\n}'
DEEP = b'{"id":"d","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

NO, BAD = "not_an_object", "invalid_json"
BATCH = b'{"events":[' + A + b"," + B + b"]}"
SHAPES = {
    "one object": (A, ["a"]),
    "one object, pretty": (PRETTY, ["p"]),
    "BOM and blanks around": (b"\xef\xbb\xbf \r\n" + A + b"\r\n\t ", ["a"]),
    "array": (b"[" + A + b"," + B + b"]", ["a", "b"]),
    "array with blanks": (b" [ " + A + b" ,\n" + ODD + b"\n] \n", ["a", "o"]),
    "batch": (b'{"events":[' + A + b"," + B + b"]}", ["a", "b"]),
    "batch with blanks": (b' {\n "events" : [ ' + A + b" ]\n}\n", ["a"]),
    "an event that has a field events": (b'{"id":"a","message":"m","events":[1]}', ["a"]),
    "an event whose events is no array": (b'{"id":"a","events":1}', ["a"]),
    "lines": (A + b"\n" + B + b"\n" + C + b"\n", ["a", "b", "c"]),
    "lines, CRLF, blank ones": (b"\n" + A + b"\r\n\r\n \t\n" + ODD + b"\r\n" + B, ["a", "o", "b"]),
    "objects on one line": (A + B + b"  " + ODD, ["a", "b", "o"]),
    "objects on the lines": (A + B + b"\n" + C + b" " + ODD + b"\n", ["a", "b", "c", "o"]),
    "arrays as lines": (b"[" + A + b"," + B + b"]\n[]\n[" + C + b"]\n" + ODD, ["a", "b", "c", "o"]),
    "arrays on one line": (b"[" + A + b"] [" + B + b"," + C + b"]", ["a", "b", "c"]),
    "pretty objects one after another": (PRETTY + b"\n" + PRETTY + A + b"\n[\n" + B + b"\n]", ["p", "p", "a", "b"]),
    "pretty array, then lines": (b"[\n" + A + b",\n" + B + b"\n]\n" + C + b"\n" + ODD, ["a", "b", "c", "o"]),
    "other values in an array": (b"[1,null," + A + b',"x",[' + B + b"]]", [NO, NO, "a", NO, NO]),
    "other values as lines": (b"1\n" + A + b'\n"x"\nnull\n', [NO, "a", NO, NO]),
    "one value that is no object": (b'"x"', ["not_an_object"]),
    "bad line first": (b"oops\n" + A, ["invalid_json", "a"]),
    "bad line in the middle": (A + b"\n{oops\n" + B, ["a", "invalid_json", "b"]),
    "bad line last": (A + b'\n{"id":', ["a", "invalid_json"]),
    "cut first line": (b'{"id":"x\n' + A, ["invalid_json", "a"]),
    "cut first line, closed by a later one": (b'{"x":{"y":1\n' + A + b"\n}}", ["invalid_json", "a", "invalid_json"]),
    "a line that is text has one verdict": (A + b"\nplain text, several words\n" + B, ["a", "invalid_json", "b"]),
    "broken array as a line": (A + b"\n[" + B + b",}]\n" + C, ["a", "b", BAD, "c"]),
    "objects around a broken one on a line": (A + B + b"{oops}" + C, ["a", "b", BAD, "c"]),
    "an object cut on a line": (A + b'{"id":"x' + B + b"\n" + C, ["a", BAD, "c"]),
    "numbers and words on a line": (b"2026-01-01 12:00 [INFO] started\n12 13 x\n" + A, [BAD, BAD, "a"]),
    "text in brackets first": (b"[2026-01-01 12:00:00] started\n" + A + b"\n" + B, [BAD, "a", "b"]),
    "a level in brackets first": (b'[INFO] {"id":"x"}\n' + A + b"\n", [BAD, "x", "a"]),
    "a quote left open first": (b'"abc\n' + A + b'\n{"id":"b"}', [BAD, "a", "b"]),
    "a bracket alone first": (b"{\n" + A + b"\n" + B, [BAD, "a", "b"]),
    "a cut array first": (b"[" + A + b",\n" + B + b"\n" + C, ["a", "b", BAD, "c"]),
    "an array cut in an object first": (b'[{"x":\n' + B + b"\n" + C, [BAD, "b", "c"]),
    "a BOM on a line": (A + b"\n\xef\xbb\xbf" + B, ["a", "b"]),
    "bad elements of an array": (b"[" + A + b',{"x":NaN},' + B + b",oops," + C + b"]", ["a", BAD, "b", BAD, "c"]),
    "two commas in an array": (b"[" + A + b",," + B + b"]", ["a", BAD, "b"]),
    "a comma at the end of an array": (b"[" + A + b", ]\n" + B, ["a", BAD, "b"]),
    "a comma at the end of a batch": (b'{"events":[' + A + b",]}", ["a", BAD]),
    "a bad element first": (b'[{"x":NaN},' + B + b"]", [BAD, "b"]),
    "a bad word first": (b"[oops," + B + b"]", [BAD, "b"]),
    "an array that is cut": (b"[" + A + b"," + B + b',{"id":', ["a", "b", BAD]),
    "an array without its bracket": (b"[" + A + b"," + B, ["a", "b", BAD]),
    "an array without a comma": (b"[" + A + b" " + B + b"]", ["a", BAD]),
    "an array with a comma too many": (b"[" + A + b",]", ["a", BAD]),
    "a quote left open in an array on lines": (
        b"[\n" + A + b',\n{"id":"x},\n' + B + b",\n" + C + b"\n]\n", ["a", BAD, "b", "c"],
    ),
    "a bracket left open in a batch on lines": (
        b'{"events":[\n' + A + b',\n{"id":{"x":1},\n' + B + b",\n" + C + b"\n]}", ["a", BAD, "b", "c"],
    ),
    "a batch that is cut": (b'{"events":[' + A + b"," + B + b',{"id', ["a", "b", BAD]),
    "a bad element in a batch": (b'{"events":[' + A + b',{"x":NaN},' + B + b"]}", ["a", BAD, "b"]),
    "batches on lines": (BATCH + b"\n" + BATCH + b"\n" + C, ["a", "b", "a", "b", "c"]),
    "batches after one another": (C + BATCH + b" " + BATCH, ["c", "a", "b", "a", "b"]),
    "an empty batch on a line": (b'{"events":[]}\n' + A, ["a"]),
    "a batch with a bad element on a line": (A + b'\n{"events":[{"x":NaN},' + B + b"]}\n" + C, ["a", BAD, "b", "c"]),
    "a batch with other fields on a line": (A + b'\n{"events":[],"host":1}\n' + C, ["a", "unknown_field", "c"]),
    "an event with a field events on a line": (A + b'\n{"id":"b","message":"m","events":[]}\n' + C, ["a", "b", "c"]),
    "an object with events in an array": (b'[{"id":"a","events":[]}]', ["a"]),
    "pretty objects, one with NaN": (
        PRETTY + b'\n{\n "id": NaN\n}\n' + PRETTY + b"\n" + PRETTY, ["p", BAD, "p", "p"],
    ),
    "pretty objects, one cut": (PRETTY + b'\n{\n "id": "x\n' + PRETTY + b"\n" + PRETTY, ["p", BAD, "p", "p"]),
    "pretty objects, one with a bracket too many": (PRETTY + b"\n}\n" + PRETTY, ["p", BAD, "p"]),
    "pretty objects, the first cut": (b'{\n "id": {\n' + PRETTY + b"\n" + PRETTY, [BAD, "p", "p"]),
    "pretty objects, the first with NaN": (b'{\n "id": NaN\n}\n' + PRETTY, [BAD, "p"]),
    "pretty objects among lines": (A + b"\n" + PRETTY + b"\noops\n" + PRETTY + B + b"\n" + C, [*"ap", BAD, *"pbc"]),
    "a pretty array among lines": (A + b"\n[\n" + B + b",\n" + C + b"\n]\nx\n" + A, ["a", "b", "c", BAD, "a"]),
    "a pretty batch among lines": (A + b'\n{\n"events": [\n' + B + b"\n]\n}\nx\n" + A, ["a", "b", BAD, "a"]),
    "pretty objects, text between": (PRETTY + b"\nsome text\n" + PRETTY, ["p", BAD, "p"]),
    "garbage after an object": (A + b" garbage here", ["a", "invalid_json"]),
    "garbage after an array": (b"[" + A + b"] ]", ["a", "invalid_json"]),
    "garbage line after an array": (b"[" + A + b"]\n]\n" + B, ["a", "invalid_json", "b"]),
    "half a pair in an array": (b"[" + A + b"," + HALF + b"," + B + b"]", ["a", "invalid_unicode", "b"]),
    "half a pair in a batch": (b'{"events":[' + A + b"," + HALF + b"]} ", ["a", "invalid_unicode"]),
    "half a pair in a line": (HALF + b"\n" + A, ["invalid_unicode", "a"]),
    "half a pair alone": (HALF, ["invalid_unicode"]),
    "binary in an array": (b"[" + A + b"," + BINARY + b"," + B + b"]", ["a", "invalid_utf8", "b"]),
    "binary in a line": (A + b"\n" + BINARY + b"\n" + B, ["a", "invalid_utf8", "b"]),
    "binary alone": (BINARY, ["invalid_utf8"]),
    "binary in metadata alone": (b'{"id":"u","metadata":{"x":"\xff"}}', ["invalid_utf8"]),
    "binary in a name": (b'{"\xff":1}\n' + A, ["invalid_utf8", "a"]),
    "100,000 deep in an array": (b"[" + A + b"," + DEEP + b"," + B + b"]", ["a", "too_deep", "b"]),
    "100,000 deep in a line": (A + b"\n" + DEEP + b"\n" + B, ["a", "too_deep", "b"]),
    "100,000 deep alone": (DEEP, ["too_deep"]),
    "100,000 deep array": (b"[" * 100_000 + b"]" * 100_000, ["not_an_object"]),
    "the last of two equal names": (b'{"id":"x","id":"a"}', ["a"]),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), SHAPES.values(), ids=SHAPES)
def test_shapes(body: bytes, expected: list[str]) -> None:
    assert told(items(body)) == expected


@pytest.mark.parametrize(
    "body", [b"", b" \r\n\t", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n", b"[]", b"[ \n]", b'{"events":[]}', b"[]\n[]\n"]
)
def test_no_events(body: bytes) -> None:
    refused = refusal(body)
    assert (refused.code, refused.status) == ("no_events", 400)


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[", b'{"id":', b"{oops}", b'{"id":"a"', b"[,]", b"hello", b"message=hi", b"<html>", b"]", b"[NaN]",
        b'{"id":NaN}', b"[" * 100_000, b'{"a":' * 100_000, b"{\n" + PRETTY[1:-1], b"'",
        b'[{"id":', b'{"events":[',
    ],
)  # fmt: skip
def test_one_broken_value_refuses_the_body(body: bytes) -> None:
    refused = refusal(body)
    assert (refused.code, refused.status) == ("invalid_json", 400)
    assert len(refused.message) < 250


def test_a_broken_array_says_where() -> None:
    body = b"[" + A + b"," + B + b" oops"
    (fault,) = [item for item in items(body) if isinstance(item, Fault)]
    assert f"at byte {body.index(b'oops')} of the body: 'oops'" in fault.message


BAD_LINES = [
    b"oops", b"{", b'"', b"}", b"]", b",", b'{"a":NaN}', b'{"a":"', b"[INFO] x", b"\xff\xfe", b"\x00\x00",
    b"5 x", b"[", b"[1,2", b'{"a":[{',
]  # fmt: skip
TEXTS = [A + b"\n" + B, A, PRETTY + PRETTY, b"[" + A + b"," + B + b"]", b'{"events":[' + A + b"]}"]


@pytest.mark.parametrize("bad", BAD_LINES)
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("around", [b"%b\n%b", b"%b\n\n%b\n"])
def test_what_comes_of_an_event_never_depends_on_the_line_before(bad: bytes, text: bytes, around: bytes) -> None:
    if bad.startswith(b"[") and not bad.endswith(b"x") and text in TEXTS[3:]:
        return  # the array that was begun holds what follows
    if text == PRETTY + PRETTY and bad in (*BAD_LINES[-3:], b'{"a":"'):
        return  # a line that is no value by itself, so what follows is read by lines
    after = told(items(around % (bad, text)))
    faults = [each for each in after if each in (NO, BAD, "invalid_utf8")]
    assert [each for each in after if each not in faults] == told(items(text))
    assert len(faults) - faults.count(NO) == 1


@pytest.mark.parametrize(
    ("body", "names", "count"),
    [
        (b'{"log":"m","events":[1]}', ("log", "message"), 1), (b'{"log":null,"events":[1]}', ("log", "message"), 1),
        (b'{"a":{"b":"m"},"events":[1]}', ("a.b", "message"), 1), (b'{"events":[{},{}]}', ("log", "message"), 2),
        (b'{"events":[{},{}]}', ("events", "message"), 1), (b'{"message":"m","events":[{},{}]}', ("log", "message"), 1),
    ],
)  # fmt: skip
def test_an_object_with_the_mapped_message_is_an_event(body: bytes, names: tuple[str, ...], count: int) -> None:
    for shape in (body, body + b"\n" + A, A + body + A):
        found = [item for piece in chunks(shape, 10, names) for item in piece.items]
        assert len(found) == count + shape.count(A)
        assert not any(isinstance(item, Fault) for item in found)


TEXT = lines([event(id=f"e{n}") for n in range(50)])
OTLP = b"\x0a\x12\x0a\x10\x0a\x0e\x0a\x04name\x12\x06\x0a\x04shop"


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ('[{"id":"a"}]'.encode("utf-16"), "invalid_utf8", "UTF-16"),
        *((TEXT.decode().encode(f"utf-{form}"), "invalid_utf8", "UTF-16") for form in ("16-le", "16-be", "32-be")),
        *((("\ufeff" + TEXT.decode()).encode(f"utf-{form}"), "invalid_utf8", "UTF-16") for form in ("16-be", "32-be")),
        (gzip.compress(TEXT), "invalid_encoding", "`Content-Encoding: gzip`"),
        (zlib.compress(TEXT), "invalid_encoding", "`Content-Encoding: deflate`"),
        (zlib.compress(TEXT, 1), "invalid_encoding", "`Content-Encoding: deflate`"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "invalid_encoding", "`Content-Encoding: zstd`"),
        (bz2.compress(TEXT), "unsupported_encoding", "bzip2"), (lzma.compress(TEXT), "unsupported_encoding", "xz"),
        (b"\xff\x06\x00\x00sNaPpY\x01\x02", "unsupported_encoding", "snappy"),
        (OTLP, "unsupported_encoding", "protobuf"),
        (b"\x92\xa3tag\x01", "unsupported_encoding", "MessagePack"), (b"\x00\x01\x02", "invalid_utf8", "binary"),
        (b"\x8b\x08\x80\x02hello\x03", "unsupported_encoding", ""), (b"\x01", "invalid_utf8", "binary"),
    ],
)  # fmt: skip
def test_what_is_no_json_in_utf_8_at_all_is_named(body: bytes, code: str, said: str) -> None:
    refused = refusal(body)
    assert (refused.code, refused.status) == (code, 415 if code == "unsupported_encoding" else 400)
    assert said in refused.message


@pytest.mark.parametrize(
    "bad", [b"x^y", b"BZh", b"PK", b"\xff\xfe\xff", b"caf\xe9 latin", b"\x1b[31mred\x1b[0m", b"\x00" * 100]
)
def test_a_line_that_looks_binary_is_one_bad_line(bad: bytes) -> None:
    assert told(items(bad + b"\n" + A + b"\n" + B)) == [
        BAD if bad.isascii() else told(items(A + b"\n" + bad))[1],
        "a",
        "b",
    ]


@pytest.mark.parametrize("body", [b'{"events":[' + A + b'],"tenant_id":"acme"}', b'{"more":[1],"events":[' + A + b"]}"])
def test_nothing_may_stand_beside_events(body: bytes) -> None:
    refused = refusal(body)
    assert refused.code == "unknown_field"
    assert refused.field in ("tenant_id", "more")


@pytest.mark.parametrize(
    "make",
    [
        lambda n: b"[" + b",".join([A] * n) + b"]",
        lambda n: b"[" + b",".join([b"1"] * n) + b"]",
        lambda n: b'{"events":[' + b",".join([A] * n) + b"]}",
        lambda n: (A + b"\n") * n,
        lambda n: A * n,
        lambda n: b"[]\n" + b"[1]\n" * n,
        lambda n: b"[" + b",".join([b"[]"] * n) + b"]\n[]",
        lambda n: b"[1]" * n + b"[]",
        lambda n: b"x\n" * n,
    ],
)
def test_max_events(make: Callable[[int], bytes]) -> None:
    assert len(items(make(50), max_events=50)) == 50
    refused = refusal(make(51), max_events=50)
    assert (refused.code, refused.status) == ("too_many_events", 413)
    assert "50" in refused.message


@pytest.mark.parametrize(
    "body",
    [b"[" + b"{}," * 400_000 + b"{}]", b"[" + b"1," * 400_000 + b"1]", b"{}" * 400_000, b"{}\n" * 400_000,
     b"[" + b"[]," * 400_000 + b"[]]", b"{}\n[" + b"{}," * 400_000 + b"{}]", b'{"a":1}\n' + b"{}" * 400_000],
)  # fmt: skip
def test_a_flood_of_tiny_values_never_becomes_a_long_list(body: bytes) -> None:
    tracemalloc.start()
    try:
        assert refusal(body).code == "too_many_events"
        assert tracemalloc.get_traced_memory()[1] < len(body) + 48 * QUICK_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", [b"[]" * 11_000, b"[]\n" * 11_000, b"{}\n" + b"[][]\n" * 6_000, b"[]\n[] []" * 6_000])
def test_empty_arrays_are_limited_too(body: bytes) -> None:
    assert refusal(body).code == "too_many_events"


def test_an_object_of_a_million_fields_is_not_held_as_one() -> None:
    body = b"{" + b",".join(b'"%d":1' % n for n in range(1_000_000)) + b"}"
    assert told(items(body)) == ["too_many_keys"]
    assert told(items(A + b"\n" + body)) == ["a", "too_many_keys"]


def many(count: int) -> list[dict[str, object]]:
    """With objects side by side in metadata, so that what looks like a seam between events often is none."""
    return [event(id=f"e{n}", metadata={"list": [{"a": n}, {"b": "},{"}]}, message="x" * 100) for n in range(count)]


@pytest.mark.parametrize("tail", [b"", b"\n", b"\n" + A])
def test_a_large_array_comes_in_slices_that_lose_and_repeat_nothing(tail: bytes) -> None:
    body = compact(many(5000)) + tail
    found = list(chunks(body, 10_000))
    assert len(found) > len(body) // SLICE_BYTES // 2
    assert told([item for piece in found for item in piece.items]) == [f"e{n}" for n in range(5000)] + ["a"] * (
        tail[1:] == A
    )
    assert [piece.first_index for piece in found][:2] == [0, len(found[0].items)]
    assert sum(piece.size_bytes for piece in found) <= len(body)


@pytest.mark.parametrize("bad", [b"", b"oops\n"])
def test_pretty_objects_among_lines_lose_nothing_at_the_seams_of_slices(bad: bytes) -> None:
    parts = [A + b"\n" + PRETTY.replace(b'"p"', b'"p%d"' % n) + b"\n" for n in range(4000)]
    body = b"".join([*parts[:2000], bad, *parts[2000:]])
    found = [name for name in told(items(body)) if name != BAD]
    assert found == [name for n in range(4000) for name in ("a", f"p{n}")]


def test_many_lines_come_in_slices() -> None:
    body = lines(many(5000))
    found = list(chunks(body, 10_000))
    assert max(piece.size_bytes for piece in found) <= SLICE_BYTES
    assert told([item for piece in found for item in piece.items]) == [f"e{n}" for n in range(5000)]


def test_a_bad_event_costs_only_its_own_slice_the_quick_way() -> None:
    events = compact(many(3000)).replace(b'"e1500"', b'"\\ud800"')
    kinds = [{type(item) for item in piece.items} for piece in chunks(events, 10_000)]
    assert {Event} in kinds
    assert sum(Fault in one for one in kinds) == 1


def test_a_line_longer_than_a_slice_is_read_whole() -> None:
    long = compact(event(id="long", message="x" * (3 * SLICE_BYTES)))
    assert told(items(A + b"\n" + long + b"\n" + B)) == ["a", "long", "b"]
    assert told(items(b"[" + A + b"," + long + b"," + B + b"]")) == ["a", "long", "b"]


def test_pieces_are_made_as_they_are_asked_for() -> None:
    body = lines(many(2000)) + b"x\n" * 20_000
    found = chunks(body, 10_000)
    assert next(found).first_index == 0
    with pytest.raises(Rejected):
        list(found)


def test_index_counts_events_and_verdicts_alike() -> None:
    taken = take(b"oops\n" + lines([event(), event(timestamp="soon")]) + b"[1,2]\n")
    assert [(error.index, error.code) for error in taken.verdicts.errors] == [
        (0, "invalid_json"), (2, "invalid_timestamp"), (3, "not_an_object"), (4, "not_an_object"),
    ]  # fmt: skip
    assert len(taken.envelopes) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"events":[' + b",".join([compact(event())] * 3000) + b",tru]}",  # damaged
        b'{"events":[' + b",".join([compact(event())] * 3000),  # cut
        b'{"deep":' + b"[{}," * 3000 + b"1" + b"]" * 3000 + b"}",  # one object
        b"".join([compact(event())] * 3000),  # values without lines between them
        b'{"a":1,' + b",".join(b'"%d":{}' % n for n in range(9000)) + b',"pad":"' + b"x" * (300 << 10) + b'"}',
    ],
    ids=["damaged batch", "cut batch", "deep", "values", "many keys"],
)
def test_a_long_search_leaves_turns_to_others(body: bytes) -> None:
    read, turns = chunks(body, 10_000), 0
    try:
        for piece in read:
            turns += 1
            assert piece.size_bytes <= 2 * SLICE_BYTES or len(piece.items) == 1
    except Rejected:
        pass
    assert turns >= 5
