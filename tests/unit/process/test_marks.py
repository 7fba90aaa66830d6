"""When the ledger's standing is kept: before a promise would be broken, and about once a day."""

from parsec.core.moment import DAY
from parsec.ports.broker import Counts, Progress
from parsec.ports.store import Row
from parsec.process.marks import Marks

TODAY = 20_000


def leaving(day: int) -> list[Row]:
    return [
        Row("a", 0, "info", "s", "m", "{}", "i", 0, "r", "n", "log", 0, n, each) for n, each in enumerate((day, 65_000))
    ]


def promises(marks: Marks, *batches: tuple[int, int]) -> list[int | None]:
    """What is promised before batches of (today, the day on which the first of their rows leaves)."""
    made = [marks.before(Progress("log", 0, 5, 9, Counts(4)), leaving(leaves), day * DAY) for day, leaves in batches]
    return [each.expires_from if each else None for each in made]


def test_a_mark_says_where_the_ledger_stands() -> None:
    mark = Marks(30).before(Progress("log", 2, 5, 9, Counts(1, 2, 0, 1)), [], TODAY * DAY)
    assert mark is not None
    assert (mark.log_id, mark.partition, mark.start, mark.committed) == ("log", 2, 5, 9)
    assert (mark.stored, mark.duplicate, mark.dead, mark.lost) == (1, 2, 0, 1)
    assert mark.expires_from == TODAY + 30, "a row may yet become a dead letter"


def test_the_first_batch_is_marked_and_its_like_are_not() -> None:
    assert promises(Marks(30), (TODAY, TODAY + 20), (TODAY, TODAY + 20), (TODAY, TODAY + 25)) == [
        TODAY + 20,
        None,
        None,
    ]


def test_a_promise_is_lowered_before_it_would_be_broken() -> None:
    batches = [(TODAY, TODAY + 20), (TODAY, TODAY + 2), (TODAY, TODAY + 20), (TODAY, TODAY + 2)]
    assert promises(Marks(30), *batches) == [TODAY + 20, TODAY + 2, None, None]


def test_what_may_have_landed_before_keeps_its_promise() -> None:
    progress = Progress("log", 0, 5, 9, Counts(4))
    mark = Marks(30).before(progress, leaving(TODAY + 30), TODAY * DAY, landed_leaves=TODAY + 3)
    assert mark is not None
    assert mark.expires_from == TODAY + 3


def test_another_day_promises_more() -> None:
    batches = [(TODAY, TODAY + 20), (TODAY + 1, TODAY + 21), (TODAY + 1, TODAY + 21), (TODAY + 1, TODAY + 25)]
    assert promises(Marks(30), *batches) == [TODAY + 20, TODAY + 21, None, None]
