"""A record of the logging module becomes one event, whatever is in it."""

import dataclasses
import decimal
import enum
import itertools
import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsec.api.event_rules import MAX_AHEAD_S, MAX_METADATA_DEPTH, MAX_METADATA_KEYS
from parsec.client.record_encoder import MAX_BYTES, RecordEncoder
from parsec.core.severity import at_least
from tests.support.ingesting import NOW_NS, take
from tests.support.manual_clock import ManualClock


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")


NOW_S = NOW_NS // 1_000_000_000


def encoder(tenant: str | None = "acme", source: str | None = None) -> RecordEncoder:
    return RecordEncoder(tenant, source, ManualClock(NOW_NS))


def event(message: str = "hello", records: RecordEncoder | None = None, **facts: Any) -> Any:
    record = logging.makeLogRecord({"name": "app.db", "levelno": logging.INFO, "created": NOW_S + 0.25, **facts})
    encoded = (records or encoder()).encode(record, message)
    assert b"\n" not in encoded
    assert len(encoded) <= MAX_BYTES
    taken = take(encoded, key_tenant="acme")
    assert (taken.codes, len(taken.envelopes)) == ([], 1)
    return json.loads(encoded)


def test_what_fits_is_never_cut() -> None:
    found = event("m" * 100_000, stack_info="s" * 90_000)
    assert (len(found["message"]), len(found["metadata"]["stack"])) == (100_000, 90_000)
    assert "cut" not in found["metadata"]


def test_only_what_does_not_fit_is_cut_and_its_size_kept() -> None:
    found = event("m" * 250_000, order=4711)
    assert (len(found["message"]), found["metadata"]["order"]) == (128 << 10, 4711)
    assert found["metadata"]["cut"] == "message: 131072 of 250000 characters"


def test_what_the_logging_module_knows_is_there() -> None:
    found = event(pathname="/srv/app.py", lineno=7, funcName="pay", process=12, threadName="main", order=4711)
    assert found.pop("id")
    assert found == {
        "timestamp": "2026-09-21T14:13:20.250000Z",
        "severity": "info",
        "source": "app.db",
        "message": "hello",
        "tenant_id": "acme",
        "metadata": {
            "logger": "app.db",
            "file": "/srv/app.py:7",
            "function": "pay",
            "process": 12,
            "thread": "main",
            "order": 4711,
        },
    }


def test_tenant_and_source_are_told_or_left_to_the_key_and_the_logger() -> None:
    assert event(records=encoder(None, "billing"))["source"] == "billing"
    assert "tenant_id" not in event(records=encoder(None, "billing"))


@pytest.mark.parametrize(
    ("level", "name"),
    [(0, "trace"), (5, "trace"), (10, "debug"), (20, "info"), (25, "info"), (30, "warn"), (40, "error"), (50, "fatal")],
)
def test_levels_are_severities(level: int, name: str) -> None:
    assert at_least(level, "python") == name


def test_an_exception_goes_into_the_metadata() -> None:
    try:
        raise ValueError("too \ud800 much")
    except ValueError:
        info = sys.exc_info()
    found = event(exc_info=info)["metadata"]["exception"]
    assert found["type"] == "ValueError"
    assert found["message"] == "too \\ud800 much"
    assert found["traceback"].startswith("Traceback (most")
    assert "exception" not in event(exc_info=(None, None, None))["metadata"]
    assert event(exc_text="Traceback x")["metadata"]["exception"] == {"traceback": "Traceback x"}
    assert event(stack_info="Stack x")["metadata"]["stack"] == "Stack x"


def test_extra_fields_that_json_cannot_say_become_text() -> None:
    loop: list[object] = []
    loop.append(loop)
    extra: dict[str, Any] = {
        "when": datetime(2026, 1, 1, tzinfo=UTC),
        "big": 10**30,
        "set": {5},
        "loop": loop,
        "h": Hostile(),
    }
    found = event("a\ud800b", good=1.5, logger="mine", **extra)
    metadata = found["metadata"]
    assert found["message"] == "a\\ud800b"
    assert metadata["good"] == 1.5
    assert metadata["when"] == "2026-01-01T00:00:00Z"
    assert metadata["big"] == 10**30
    assert metadata["set"] == [5]
    assert metadata["loop"] == ["[...]"]
    assert metadata["h"] == "<Hostile>"
    assert (metadata["logger"], metadata["_logger"]) == ("app.db", "mine")


def test_what_is_too_long_is_cut_and_a_blank_message_stays() -> None:
    found = event("\x00" * 500_000, huge="x" * 500_000, stack_info="y" * 300_000)
    assert found["message"].startswith("\x00")
    assert found["metadata"]["huge"] == "x" * 8192
    assert found["metadata"]["cut"].split("; ") == [
        f"{name}: 8192 of {length} characters"
        for name, length in (("message", 500_000), ("stack", 300_000), ("huge", 500_000))
    ]
    assert len(event("x" * 500_000)["message"]) == 128 << 10
    assert event(" \n")["message"] == " \n"


def test_of_a_long_stack_the_end_is_kept() -> None:
    found = event(stack_info="first\n" + "s" * 300_000 + "\nlast")["metadata"]
    assert found["stack"].endswith("s\nlast")
    assert found["cut"] == "stack: 131072 of 300011 characters"


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def innermost(value: Any) -> Any:
    while isinstance(value, list):
        (value,) = value
    return value


def test_what_nests_too_deep_becomes_its_text() -> None:
    fine, deep = nested(MAX_METADATA_DEPTH - 1), nested(MAX_METADATA_DEPTH + 2)
    metadata = event(fine=fine, deep=deep, abyss=nested(50_000))["metadata"]
    assert metadata["fine"] == fine
    assert innermost(metadata["deep"]) == "[[[1]]]"
    assert innermost(metadata["abyss"]) == "<list>"
    why = f"text instead of values deeper than {MAX_METADATA_DEPTH} levels"
    assert metadata["cut"] == f"deep: {why}; abyss: {why}"


def test_more_fields_than_an_event_may_have_are_cut() -> None:
    extra: dict[str, Any] = {f"field{n}": n for n in range(300)}
    metadata = event(**extra)["metadata"]
    assert len(metadata) == MAX_METADATA_KEYS
    assert (metadata["logger"], metadata["field0"], metadata["cut"]) == (
        "app.db",
        0,
        "50 fields left out (field250, field251, field252, ...)",
    )


@pytest.mark.parametrize("created", [-1.5, NOW_S + MAX_AHEAD_S + 1, float("nan"), float("inf"), 1e300])
def test_a_time_that_no_event_can_have_becomes_the_present(created: float) -> None:
    found = event(created=created)
    assert found["timestamp"] == "2026-09-21T14:13:20Z"
    assert found["metadata"]["created"] == {"nan": "NaN", "inf": "Infinity"}.get(str(created), created)


def test_a_small_time_is_no_other_unit() -> None:
    assert event(created=1.5)["timestamp"] == "1970-01-01T00:00:01.500000Z"


@pytest.mark.parametrize(
    ("name", "source"), [("", "root"), (" \n", "root"), ("\u0130" * 300, "i\u0307" * 128), ("\ud800", "\\ud800")]
)
def test_any_name_of_a_logger_is_a_source(name: str, source: str) -> None:
    assert event(name=name)["source"] == source


def test_a_tenant_that_no_event_can_have_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="tenant 'a b' is not valid; use 1 to 64"):
        RecordEncoder("a b", None)
    assert event(records=encoder(" Acme "))["tenant_id"] == "acme"


def test_an_event_of_long_texts_only_fits_all_the_same() -> None:
    text = "\x00" * 100_000
    names = ("name", "pathname", "funcName", "threadName", "taskName", "exc_text", "stack_info")
    facts: dict[str, Any] = dict.fromkeys(names, text)
    found = event(text, **facts)
    assert found["metadata"]["stack"] == "\x00" * 1024


def test_ids_are_never_the_same_also_in_a_child() -> None:
    records = encoder()
    ids = {event(records=records)["id"] for _ in range(100)}
    records.restart_ids()
    ids |= {event(records=records)["id"] for _ in range(100)}
    assert len(ids) == 200


class Talker:
    """A text of any length, or what is no text at all."""

    def __init__(self, text: Any) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text  # type: ignore[no-any-return]

    __repr__ = __str__


class Scalar:
    """Like numpy's."""

    dtype = "float64"

    def __init__(self, value: object) -> None:
        self._value = value

    def tolist(self) -> object:
        return self._value


class Endless(dict[str, int]):
    def items(self) -> Any:
        return ((f"k{n}", n) for n in itertools.count())


class Breaking(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")


class Liar:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("no")

    def __bool__(self) -> bool:
        raise RuntimeError("no")

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__

    def __eq__(self, _other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 7


class Lower(str):
    def __str__(self) -> str:
        raise RuntimeError("no")


@dataclasses.dataclass
class Order:
    number: int
    price: object


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (float("nan"), "NaN"),
        ([1.5, float("inf"), {"x": -float("inf")}], [1.5, "Infinity", {"x": "-Infinity"}]),
        (b"caf\xc3\xa9", "caf\xe9"),
        (b"\xff\x00", "\\xff\x00"),
        (bytearray(b"abc"), "abc"),
        (memoryview(b"abc"), "abc"),
        (decimal.Decimal("1.10"), "1.10"),
        (decimal.Decimal("NaN"), "NaN"),
        (timedelta(seconds=90), "PT90S"),
        (datetime(2026, 1, 1, 12), "2026-01-01T12:00:00"),  # noqa: DTZ001
        (frozenset({7}), [7]),
        ((1, (2,)), [1, [2]]),
        (Colour.RED, "red"),
        (Level.HIGH, 7),
        (Lower("abc"), "abc"),
        (Scalar(1.5), 1.5),
        (Scalar(float("nan")), "NaN"),
        (Scalar([1, 2]), [1, 2]),
        (Order(7, {5}), {"number": 7, "price": [5]}),
        (
            {1: "a", "1": "b", None: "c", b"k": "d", (1, 2): "e"},
            {"1": "a", "_1": "b", "None": "c", "k": "d", "(1, 2)": "e"},
        ),
        (-(10**40), -(10**40)),
        (10**5000, str(10**4000) + "0" * 1000),
        (10**200_000, "<int of 664386 bits>"),
        (Talker(None), "<Talker>"),
        (Talker("\ud83d"), "\\ud83d"),
        (Breaking(), "{}"),
        (ValueError("no"), "no"),
        (Liar(), "<Liar>"),
        (Order, f"<class '{__name__}.Order'>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_value_has_a_form(value: object, wanted: object) -> None:
    assert event(extra_value=value)["metadata"]["extra_value"] == wanted


def test_circles_end_and_shared_values_stay() -> None:
    shared = {"n": 1}
    circle: dict[str, Any] = {"one": shared, "two": shared}
    circle["self"] = [circle]
    assert event(circle=circle)["metadata"]["circle"] == {"one": {"n": 1}, "two": {"n": 1}, "self": ["{...}"]}


def test_what_never_ends_is_cut_and_the_note_says_so() -> None:
    metadata = event(endless=Endless(), order=4711)["metadata"]
    assert "endless: too many values" in metadata["cut"]
    assert metadata["endless"].startswith('{"k0":0,"k1":1,')


def test_fields_of_the_same_name_all_stay() -> None:
    metadata = event(logger="mine", _logger="too", cut="hair", file=1)["metadata"]
    assert (metadata["logger"], metadata["_logger"], metadata["__logger"]) == ("app.db", "mine", "too")
    assert (metadata["_cut"], metadata["_file"]) == ("hair", 1)
    assert "cut" not in metadata


def test_exactly_as_many_fields_as_an_event_may_have_stay() -> None:
    many: dict[str, Any] = {f"f{n}": n for n in range(MAX_METADATA_KEYS - 5)}
    metadata = event(**many)["metadata"]
    assert len(metadata) == MAX_METADATA_KEYS
    assert "cut" not in metadata
    metadata = event("x" * 300_000, **many)["metadata"]
    assert len(metadata) == MAX_METADATA_KEYS
    assert "1 field left out (f250)" in metadata["cut"]


def test_many_long_fields_are_kept_as_far_as_they_fit() -> None:
    extra: dict[str, Any] = {f"{n}" + "k" * 2_000: "v" * 2_000 for n in range(250)}
    found = event("m", **extra)
    assert found["message"] == "m"
    assert len(found["metadata"]) > 100
    assert "fields left out" in found["metadata"]["cut"]


class BadFrame(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("info", "wanted"),
    [
        (True, None),
        ((1, 2), None),
        (("a", "b", "c"), {"type": "a", "message": "b"}),
        ((None, ValueError("x"), None), {"type": "None", "message": "x"}),
        ((ValueError, None, None), {"type": "ValueError", "message": "None"}),
        ((BadFrame, BadFrame(), None), {"type": "BadFrame", "message": "<BadFrame>"}),
        ((ValueError, ValueError("x"), "no frames"), {"type": "ValueError", "message": "x"}),
        (ValueError("x"), {"type": "ValueError", "message": "x"}),
        (Liar(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_exception_that_is_none_costs_no_message(info: Any, wanted: dict[str, str] | None) -> None:
    found = event("kept", exc_info=info)
    assert found["message"] == "kept"
    exception = found["metadata"].get("exception")
    assert (exception and {name: exception[name] for name in ("type", "message")}) == wanted


any_text = st.text(st.sampled_from('a \n\x00"\ud800\u0130\xe9'), max_size=8) | st.text(st.characters(), max_size=8)
numbers = st.integers() | st.sampled_from([20, 4000, 5000]).map(lambda digits: 10**digits) | st.floats()
HOSTILE: list[Any] = [
    *(Hostile(), Endless(), Breaking(), Talker(None), Talker("x" * 300_000), Lower("abc"), Order(1, b"\xff"), int),
]
hostile = st.integers(0, len(HOSTILE) - 1).map(lambda number: HOSTILE[number])
values = st.recursive(
    st.none()
    | numbers
    | any_text
    | st.binary()
    | hostile
    | st.datetimes()
    | st.decimals()
    | st.builds(Scalar, numbers),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(any_text | st.integers() | st.none() | st.tuples(st.integers()), inner, max_size=3)
        | st.integers(29, 34).map(nested)
    ),
    max_leaves=6,
)
extras = st.dictionaries(
    any_text.map(lambda name: f"x{name}") | st.integers() | st.none() | st.binary(max_size=4), values, max_size=4
)
widths = st.just(0) | st.integers(240, 260)
long_texts = st.builds(lambda text, times: text * times, any_text, st.sampled_from([1, 1, 2_000, 50_000]))
standard = st.fixed_dictionaries(
    {},
    optional={
        "name": long_texts | values,
        "created": st.sampled_from([-1e9, -1.0, 0.0, 1.0, NOW_S + MAX_AHEAD_S, 1e12]) | st.floats() | values,
        "levelno": st.integers(-10, 100) | values,
        "funcName": values,
        "lineno": values,
        "exc_info": values | st.tuples(values, values, values),
        "process": st.none() | numbers,
        "threadName": long_texts | st.none(),
        "taskName": long_texts,
        "pathname": long_texts,
        "exc_text": long_texts | values,
        "stack_info": long_texts | values,
    },
)


@settings(max_examples=300)
@given(long_texts, extras, widths, standard)
def test_a_parsec_accepts_the_event_of_any_record(
    message: str, extra: dict[Any, Any], width: int, facts: dict[str, Any]
) -> None:
    """Deep and wide metadata, keys that are no text, half surrogate pairs, NaN, huge numbers, any time, long texts."""
    record = logging.makeLogRecord({"name": "app.db", "levelno": logging.INFO, "created": NOW_S, **facts})
    vars(record).update(extra | {f"wide{n}": n for n in range(width)})
    encoded = encoder().encode(record, message)
    assert len(encoded) <= MAX_BYTES
    taken = take(encoded)
    assert taken.codes == []
    (envelope,) = taken.envelopes
    escaped = message.encode(errors="backslashreplace").decode()
    assert not message.strip() or envelope.message.strip() in escaped
    whole = envelope.message.strip() == escaped.strip()
    assert whole or b'"cut":' in bytes(envelope.metadata) or not message.strip()
    assert len(msgspec.json.decode(envelope.metadata, type=dict[str, msgspec.Raw])) <= MAX_METADATA_KEYS
