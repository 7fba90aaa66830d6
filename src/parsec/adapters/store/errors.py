"""Errors of the engine and its driver to the four kinds that callers branch on.

In: what clickhouse-connect raised. Out: Retryable, Poison, Fatal or Rejected(query_too_expensive), to be
raised from it.
"""

import re

from clickhouse_connect.driver.exceptions import Error, ProgrammingError

from parsec.core.errors import Fatal, ParsecError, Poison, Rejected, Retryable

# Numbers of ClickHouse's ErrorCodes.cpp.
_POISON = frozenset({
    6, 26, 27, 38, 41, 72, 675,  # cannot parse a text, quoted string, input, date, datetime, number, IPv4
    33, 53, 69, 70, 117, 131, 190, 321, 349, 407, 636,  # not all data, wrong type, out of bound, incorrect, too large
})  # fmt: skip
_MEMORY = 241
_TIME = "It takes longer than one question may (PARSEC_QUERY_TIMEOUT)"
_READS = "It would read more than one question may (PARSEC_QUERY_ROWS, PARSEC_QUERY_BYTES)"
_NARROW = "shorten its time range, or add a word, a source or a severity that fewer events have."
_TOO_EXPENSIVE = {
    158: f"{_READS}: {_NARROW}",
    159: f"{_TIME}: {_NARROW}",
    160: f"{_TIME}: {_NARROW}",
    191: f"It holds more values than one question may: {_NARROW}",
    _MEMORY: "It needs more memory than one question may (PARSEC_QUERY_MEMORY): group by fields with fewer values, or "
    + _NARROW,
    307: f"{_READS}: {_NARROW}",
    396: "Its answer is larger than one may be: lower `limit` or `top`, or name the `fields` that you need.",
}
_OF_QUERY = re.compile(r"Query memory limit|\(for query\)")
_BROKEN = frozenset({
    10, 16, 36, 46, 47, 48, 60, 62, 81, 115, 164, 497, 516,  # no such column, table, setting; syntax; read-only; access
})  # fmt: skip


def of_insert(error: Exception) -> ParsecError:
    """Poison only for what parses or types wrongly; doubt (time, memory, disk, connection) is Retryable."""
    code = _code(error)
    if code in _POISON:
        return Poison(_text(error))
    return _broken(error) or Retryable(f"the store does not take a block: {_text(error)}")


def of_query(error: Exception) -> ParsecError:
    """A limit that was hit is the question's fault, not the store's; memory that all share is not the question's."""
    code = _code(error)
    if code in _TOO_EXPENSIVE and (code != _MEMORY or _OF_QUERY.search(str(error))):
        return Rejected("query_too_expensive", _TOO_EXPENSIVE[code])
    return _broken(error) or Retryable(f"the store does not answer: {_text(error)}")


def _broken(error: Exception) -> Fatal | None:
    if _code(error) in _BROKEN or (isinstance(error, ProgrammingError) and _code(error) is None):
        return Fatal(f"the store cannot be used: {_text(error)}")
    return None


def _code(error: Exception) -> int | None:
    return error.code if isinstance(error, Error) else None


def _text(error: Exception) -> str:
    return str(error)[:500]
