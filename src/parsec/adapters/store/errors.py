"""Translate the driver's errors to the four kinds that callers branch on.

In: an exception of clickhouse-connect. Out: Retryable, Poison, Fatal or Rejected(query_too_expensive), to be raised
from it.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from clickhouse_connect.driver.exceptions import ClickHouseError, Error, ProgrammingError

from parsec.core.errors import Fatal, ParsecError, Poison, Rejected, Retryable

# Numbers of ClickHouse's ErrorCodes.cpp.
_POISON = frozenset({
    6, 26, 27, 38, 41, 72, 675,  # cannot parse a text, quoted string, input, date, datetime, number, IPv4
    33, 53, 69, 70, 117, 131, 190, 321, 349, 407, 636,  # not all data, wrong type, out of bound, incorrect, too large
})  # fmt: skip
_MEMORY = 241
_TIME = "The query takes longer than PARSEC_QUERY_TIMEOUT allows"
_READS = "The query would read more than PARSEC_QUERY_TIMEOUT allows"
_NARROW = "shorten its time range, or add a word, a source or a severity that fewer events have."
_TOO_EXPENSIVE = {
    158: f"{_READS}: {_NARROW}",
    159: f"{_TIME}: {_NARROW}",
    160: f"{_TIME}: {_NARROW}",
    191: f"The query collects more values than one query may: {_NARROW}",
    _MEMORY: "The query needs more memory than PARSEC_QUERY_MEMORY allows: group by fields with fewer values, or "
    + _NARROW,
    307: f"{_READS}: {_NARROW}",
    396: "The answer is too large: lower `limit` or `top`, or name the `fields` that you need.",
}
_OF_QUERY = re.compile(r"Query memory limit|\(for query\)")
_BROKEN = frozenset({
    10, 16, 36, 46, 47, 48, 60, 62, 81, 115, 164, 497, 516,  # no such column, table, setting; syntax; read-only; access
})  # fmt: skip

T = TypeVar("T")
DetachDamaged = Callable[[BaseException], bool]
"""Detaches the part that an error shows to be damaged. True: the same query may succeed now."""
_MOST_DETACHED = 100
"""Parts that one query may meet before it gives up."""


def without_damage(query: Callable[[], T], detach_damaged: DetachDamaged) -> T:
    """The answer of a query; damaged parts that it meets are detached, and it is asked again without them."""
    for _ in range(_MOST_DETACHED):
        try:
            return query()
        except (ClickHouseError, OSError) as error:
            if not detach_damaged(error):
                raise of_query(error) from error
    raise Retryable("the store does not answer: it has many damaged parts")


def of_insert(error: Exception) -> ParsecError:
    """Poison only for parse and type errors; time-outs, memory, disk and connection are Retryable."""
    code = _code(error)
    if code in _POISON:
        return Poison(_text(error))
    return _broken(error) or Retryable(f"the store refused an insert: {_text(error)}")


def of_query(error: Exception) -> ParsecError:
    """Rejected when the query hit its own limit; memory that all queries share is not the query's fault."""
    code = _code(error)
    if code in _TOO_EXPENSIVE and (code != _MEMORY or _OF_QUERY.search(str(error))):
        return Rejected("query_too_expensive", _TOO_EXPENSIVE[code])
    return _broken(error) or Retryable(f"the store does not answer: {_text(error)}")


def _broken(error: Exception) -> Fatal | None:
    if _code(error) in _BROKEN or (isinstance(error, ProgrammingError) and _code(error) is None):
        return Fatal(f"the store cannot be used, check its tables and the user's rights: {_text(error)}")
    return None


def _code(error: Exception) -> int | None:
    return error.code if isinstance(error, Error) else None


def _text(error: Exception) -> str:
    return str(error)[:500]
