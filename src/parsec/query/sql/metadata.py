"""Tests of a value of the metadata as SQL.

In: a path, a test. Out: a condition that is 0 or 1. Errors: none. Next: parsec.query.sql.columns.

The engine reads all types that a path has at once, as one Dynamic column, and each test takes its types from that:
reading each type by itself costs 7 ms of CPU per million events, whether any event has it or not (decision 0018).
A test of a list holds if it holds for one of its values. Values within lists of objects or of lists are in one list at
their path (parsec.process.search_text).
"""

from collections.abc import Callable

from parsec.query.language import ast
from parsec.query.language.fields import NUMBER_SPELLING, number
from parsec.query.sql.columns import BOOL, NUMBERS, STRING, Parameters, any_value, object_at
from parsec.query.sql.comparisons import text_test, within

MIXED = "Array(Dynamic)"
"""A list of several types. In a block that has one at a path, all later lists at the path have this type."""

_NUMBER_PATTERN = NUMBER_SPELLING.replace("\\", "\\\\")
_EXACT = 1 << 53
"""Below this the engine writes an integer and a double of the same value alike."""


Condition = Callable[[str], str]
"""A condition, never NULL, on an expression of type Dynamic."""


def in_metadata(path: str, test: ast.Test, parameters: Parameters) -> str:
    value = any_value(path, parameters)
    if isinstance(test, ast.Exists):
        return f"(isNotNull({value}) OR notEmpty({object_at(path, parameters)}))"
    return f"({_Tests(test, parameters).value(f'materialize({value})')})"


class _Tests:
    """A test of a scalar, of an element `x` of a list of one type, and of a value, which may be a list.

    Each test takes what can pass: a text that spells a number is compared with numbers, a number is matched by its
    digits, and every value equals its text."""

    def __init__(self, test: ast.Test, parameters: Parameters) -> None:
        self._parameters = parameters
        self._elements: dict[str, str] = {}
        self._scalar: Condition
        self._whole: Condition | None = None
        if isinstance(test, ast.Equal):
            self._equal(test)
        elif isinstance(test, ast.Between) and not isinstance(test.high if test.low is None else test.low, str):
            self._within_numbers(test)
        elif isinstance(test, ast.Between):
            self._scalar = lambda value: f"ifNull({text_test(_of(value, STRING), test, parameters)}, 0)"
            self._elements = {STRING: text_test("x", test, parameters)}
        else:
            self._matches(test)

    def value(self, value: str) -> str:
        if self._whole is not None:
            return self._whole(value)
        mixed = f"arrayExists(m -> {self._scalar('m')}, {_of(value, MIXED)})"
        return f"{self._scalar(value)} OR {' OR '.join(self._list(value, kind) for kind in self._elements)} OR {mixed}"

    def _list(self, value: str, kind: str) -> str:
        return f"arrayExists(x -> ifNull({self._elements[kind]}, 0), {_of(value, f'Array(Nullable({kind}))')})"

    def _equal(self, test: ast.Equal) -> None:
        text, wanted = self._parameters.bind(test.text), number(test.text)
        is_bool = test.text in ("true", "false")
        exact = test.text if is_bool else "" if wanted is None else self._parameters.number(wanted)
        others = (BOOL,) if is_bool else NUMBERS if exact else ()
        self._elements = {STRING: f"x = {text}", **dict.fromkeys(others, f"x = {exact}")}
        if is_bool or (isinstance(wanted, int) and 0 < abs(wanted) < _EXACT and test.text == str(wanted)):
            # The engine writes every equal value just so, whatever its type.
            self._scalar = lambda value: f"ifNull(CAST({value}, 'Nullable(String)') = {text}, 0)"
            return
        self._scalar = lambda value: "ifNull({}, 0)".format(
            " OR ".join([f"{_of(value, STRING)} = {text}", *(f"{_of(value, kind)} = {exact}" for kind in others)])
        )

    def _within_numbers(self, test: ast.Between) -> None:
        def bound(limit: ast.Limit) -> str:
            return self._parameters.number(limit if isinstance(limit, int) else float(limit))

        if all(limit is None or abs(float(limit)) < _EXACT for limit in (test.low, test.high)):
            # No rounding to a double takes a number to the other side of such a limit, so one test is enough.
            holds = within("x", test, bound)
            self._whole = lambda value: f"arrayExists(x -> ifNull({holds}, 0), {_doubles(value)})"
            return
        self._elements = {
            **dict.fromkeys(NUMBERS, within("x", test, bound)), STRING: within(_spelled("x"), test, bound)
        }  # fmt: skip
        self._scalar = lambda value: "ifNull({}, 0)".format(
            " OR ".join(
                [
                    *(within(_of(value, kind), test, bound) for kind in NUMBERS),
                    within(_spelled(_of(value, STRING)), test, bound),
                ]
            )
        )

    def _matches(self, test: ast.Test) -> None:
        digits = text_test("toString(x)", test, self._parameters)
        self._elements = {STRING: text_test("x", test, self._parameters), **dict.fromkeys(NUMBERS, digits)}
        kinds = self._parameters.bind([STRING, *NUMBERS], "Array(String)")
        self._scalar = lambda value: "ifNull({}, 0)".format(
            text_test(
                f"if(dynamicType({value}) IN {kinds}, CAST({value}, 'Nullable(String)'), NULL)", test, self._parameters
            )
        )


def _of(value: str, kind: str) -> str:
    return f"dynamicElement({value}, '{kind}')"


def _spelled(text: str) -> str:
    """The number that a text spells."""
    return f"if(match({text}, '{_NUMBER_PATTERN}'), toFloat64OrNull({text}), NULL)"


def _doubles(value: str) -> str:
    """All numbers of a value as one array."""

    def scalar(value: str) -> str:
        numbers = [f"toFloat64({_of(value, kind)})" for kind in NUMBERS]
        return f"coalesce({', '.join([*numbers, _spelled(_of(value, STRING))])})"

    lists = [f"CAST({_of(value, f'Array(Nullable({kind}))')}, 'Array(Nullable(Float64))')" for kind in NUMBERS]
    texts = f"arrayMap(s -> {_spelled('s')}, {_of(value, f'Array(Nullable({STRING}))')})"
    mixed = f"arrayMap(m -> {scalar('m')}, {_of(value, MIXED)})"
    return f"arrayConcat([{scalar(value)}], {', '.join([*lists, texts, mixed])})"
