"""What an answer may lack, with a store whose answers are given."""

from collections.abc import Mapping
from typing import Any

import pytest

from parsec.core.errors import Retryable
from parsec.ports.store import QueryLimits
from parsec.query.completeness import CompletenessCheck
from tests.support.manual_clock import ManualClock

LIMITS = QueryLimits(1 << 20, 1.0)
NONE: list[Any] = []


class Answers:
    """A reader that has one answer for each table that a statement names."""

    def __init__(self) -> None:
        self.damaged: list[tuple[str, int]] | Retryable = NONE
        self.former: list[tuple[str]] = NONE
        self.letters = (0, 0)

    def select(self, sql: str, _: Mapping[str, object], __: QueryLimits, ___: object) -> list[Any]:
        if "detached_parts" in sql:
            if isinstance(self.damaged, Retryable):
                raise self.damaged
            return self.damaged
        return self.former if "events_before" in sql else [self.letters]


def check_of(answers: Answers) -> CompletenessCheck:
    return CompletenessCheck(answers, lambda: 1 << 62, lambda: 0, lambda: 0, ManualClock())


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (["20261130"], "Events received on 2026-11-30 may be missing: "),
        (["20261121", "20261123"], "Events received from 2026-11-21 to 2026-11-23 may be missing: "),
    ],
)
def test_days_are_dates_and_one_day_is_one(days: list[str], said: str) -> None:
    answers = Answers()
    answers.former = [(day,) for day in days]
    (sentence,) = check_of(answers).missing("acme", 0, 1 << 62, LIMITS)
    assert sentence.startswith(said)


@pytest.mark.parametrize(
    ("parts", "are"), [(1, "1 damaged part of the store is"), (3, "3 damaged parts of the store are")]
)
def test_damaged_parts_are_counted_by_the_day_of_their_events(parts: int, are: str) -> None:
    answers = Answers()
    answers.damaged = [("20261130", parts)]
    assert check_of(answers).missing("acme", 0, 1 << 62, LIMITS) == [
        f"Events received on 2026-11-30 are missing: {are} detached."
    ]


def test_a_question_for_damaged_parts_that_failed_is_asked_again() -> None:
    answers = Answers()
    answers.damaged = Retryable("no time")
    check = check_of(answers)
    with pytest.raises(Retryable):
        check.missing("acme", 0, 1 << 62, LIMITS)
    answers.damaged = [("20261130", 1)]
    assert len(check.missing("acme", 0, 1 << 62, LIMITS)) == 1
