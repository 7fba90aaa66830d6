"""Errors of the engine and its driver to the four kinds that callers branch on.

In: what clickhouse-connect raised. Out: Retryable, Poison, Fatal or Rejected(query_too_expensive), to be
raised from it.
"""

from clickhouse_connect.driver.exceptions import Error, ProgrammingError

from parsec.core.errors import Fatal, ParsecError, Poison, Rejected, Retryable

# Numbers of ClickHouse's ErrorCodes.cpp.
_POISON = frozenset({
    6, 26, 27, 38, 41, 72, 675,  # cannot parse a text, quoted string, input, date, datetime, number, IPv4
    33, 53, 69, 70, 117, 131, 190, 321, 349, 407, 636,  # not all data, wrong type, out of bound, incorrect, too large
})  # fmt: skip
_TOO_EXPENSIVE = frozenset({158, 159, 160, 191, 241, 307, 396})  # rows, time, speed, set size, memory, bytes, result
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
    """A limit that was hit is the question's fault, not the store's."""
    if _code(error) in _TOO_EXPENSIVE:
        message = "The question costs more than it may: shorten its time range, or ask for less."
        return Rejected("query_too_expensive", message)
    return _broken(error) or Retryable(f"the store does not answer: {_text(error)}")


def _broken(error: Exception) -> Fatal | None:
    if _code(error) in _BROKEN or (isinstance(error, ProgrammingError) and _code(error) is None):
        return Fatal(f"the store cannot be used: {_text(error)}")
    return None


def _code(error: Exception) -> int | None:
    return error.code if isinstance(error, Error) else None


def _text(error: Exception) -> str:
    return str(error)[:500]
