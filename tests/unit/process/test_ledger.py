"""When the ledger's standing is kept: before a promise would be broken, and about once a day."""

from parsec.core.timestamp import DAY
from parsec.ports.broker import Counts, Progress
from parsec.ports.store import ExpiryBound, Row
from parsec.process.ledger import LedgerCheckpoints

TODAY = 20_000
NOON = TODAY * DAY + DAY // 2


def leaving(day: int, received: int = TODAY) -> list[Row]:
    """The first of two leaves, and came in, on these days; the other one later."""
    each = ((day, received), (65_000, received + 1))
    return [
        Row("a", 0, "info", "s", "m", "{}", "i", at * DAY, "r", "n", "log", 0, n, leaves)
        for n, (leaves, at) in enumerate(each)
    ]


def promises(marks: LedgerCheckpoints, *batches: tuple[int, int]) -> list[int | None]:
    """What is promised before batches of (today, the day on which the first of their rows leaves)."""
    progress = Progress("log", 0, 5, 9, Counts(4))
    made = [marks.before(progress, leaving(leaves, day), day * DAY + DAY // 2) for day, leaves in batches]
    return [each.expires_from if each else None for each in made]


def test_a_mark_says_where_the_ledger_stands() -> None:
    mark = LedgerCheckpoints(30).before(Progress("log", 2, 5, 9, Counts(1, 2, 0, 1)), [], NOON)
    assert mark is not None
    assert (mark.log_id, mark.partition, mark.start, mark.committed) == ("log", 2, 5, 9)
    assert (mark.stored, mark.duplicate, mark.dead, mark.lost) == (1, 2, 0, 1)
    assert mark.expires_from == TODAY + 30, "a row may yet become a dead letter"


def test_the_first_batch_is_marked_and_its_like_are_not() -> None:
    assert promises(LedgerCheckpoints(30), (TODAY, TODAY + 20), (TODAY, TODAY + 20), (TODAY, TODAY + 25)) == [
        TODAY + 20,
        None,
        None,
    ]


def test_a_promise_is_lowered_before_it_would_be_broken() -> None:
    batches = [(TODAY, TODAY + 20), (TODAY, TODAY + 2), (TODAY, TODAY + 20), (TODAY, TODAY + 2)]
    assert promises(LedgerCheckpoints(30), *batches) == [TODAY + 20, TODAY + 2, None, None]


def test_what_may_have_landed_before_keeps_its_promise() -> None:
    progress = Progress("log", 0, 5, 9, Counts(4))
    mark = LedgerCheckpoints(30).before(progress, leaving(TODAY + 30), NOON, ExpiryBound(TODAY + 3, TODAY - 5))
    assert mark is not None
    assert (mark.expires_from, mark.received_from) == (TODAY + 3, TODAY - 5)


def test_another_day_promises_more() -> None:
    batches = [(TODAY, TODAY + 20), (TODAY + 1, TODAY + 21), (TODAY + 1, TODAY + 21), (TODAY + 1, TODAY + 25)]
    assert promises(LedgerCheckpoints(30), *batches) == [TODAY + 20, TODAY + 21, None, None]


def test_a_mark_says_since_when_what_follows_came_in() -> None:
    marks = LedgerCheckpoints(30)
    progress = Progress("log", 0, 5, 9, Counts(4))
    backlog, fresh = leaving(TODAY + 20, TODAY - 3), leaving(TODAY + 20)
    made = [marks.before(progress, rows, NOON + day * DAY) for day, rows in enumerate((fresh, backlog, fresh, backlog))]
    assert [each and each.received_from for each in made] == [TODAY, TODAY - 3, TODAY, TODAY - 3]
    again = [marks.before(progress, rows, NOON + 3 * DAY) for rows in (fresh, backlog, fresh)]
    assert again == [None] * 3, "one that promises more waits for another day"


def test_what_came_in_earlier_than_promised_is_marked_at_once() -> None:
    marks = LedgerCheckpoints(30)
    progress = Progress("log", 0, 5, 9, Counts(4))
    made = [marks.before(progress, leaving(60_000, TODAY - ago), NOON) for ago in (0, 2, 1, 2)]
    assert [each and each.received_from for each in made] == [TODAY, TODAY - 2, None, None]


def test_just_after_midnight_a_dead_letter_may_still_be_of_yesterday() -> None:
    marks = LedgerCheckpoints(30)
    progress = Progress("log", 0, 5, 9, Counts(4))
    times = (NOON, (TODAY + 1) * DAY + DAY // 1000, (TODAY + 1) * DAY + DAY // 100)
    made = [marks.before(progress, leaving(60_000, TODAY + 1), each) for each in times]
    assert [each and each.received_from for each in made] == [TODAY, None, TODAY + 1]
