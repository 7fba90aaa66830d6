"""The driver's errors by number: poison is only what the data did."""

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, ProgrammingError

from parsec.adapters.store.errors import of_insert, of_query
from parsec.core.errors import Fatal, ParsecError, Poison, Rejected, Retryable


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (27, Poison), (53, Poison), (117, Poison), (321, Poison), (60, Fatal), (81, Fatal), (516, Fatal),
        (159, Retryable), (241, Retryable), (243, Retryable), (252, Retryable), (209, Retryable), (210, Retryable),
        (None, Retryable), (999_999, Retryable),
    ],
)  # fmt: skip
def test_of_insert(code: int | None, kind: type[ParsecError]) -> None:
    assert type(of_insert(DatabaseError("x", code=code))) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [(158, Rejected), (159, Rejected), (307, Rejected), (396, Rejected), (47, Fatal), (62, Fatal), (210, Retryable)],
)
def test_of_query(code: int, kind: type[ParsecError]) -> None:
    assert type(of_query(DatabaseError("x", code=code))) is kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Query memory limit exceeded: would use 5.50 MiB", Rejected),
        ("Memory limit (for query) exceeded", Rejected),
        ("(total) memory limit exceeded: would use 5.50 MiB", Retryable),
    ],
)
def test_memory_that_all_share_is_not_the_fault_of_a_question(text: str, kind: type[ParsecError]) -> None:
    assert type(of_query(DatabaseError(text, code=241))) is kind


def test_a_closed_client_is_fatal_and_a_full_disk_is_not() -> None:
    assert type(of_insert(ProgrammingError("The client has been closed"))) is Fatal
    assert type(of_insert(OSError(28, "No space left on device"))) is Retryable
