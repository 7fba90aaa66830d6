"""When a checkpoint is saved: before a batch exceeds a bound of the last one, and about once a day."""

from parsec.core.timestamp import DAY
from parsec.ports.broker import Counts, Progress
from parsec.ports.store import ExpiryBound, Row
from parsec.process.partitions import LedgerCheckpoints

TODAY = 20_000
NOON = TODAY * DAY + DAY // 2


def expiring(day: int, received: int = TODAY) -> list[Row]:
    """The first of two expires, and was received, on these days; the other one later."""
    each = ((day, received), (65_000, received + 1))
    return [
        Row("a", 0, "info", "s", "m", "{}", "i", at * DAY, "r", "n", "log", 0, n, leaves)
        for n, (leaves, at) in enumerate(each)
    ]


def bounds(checkpoints: LedgerCheckpoints, *batches: tuple[int, int]) -> list[int | None]:
    """The bounds saved before batches of (today, the day on which the first of their rows leaves)."""
    progress = Progress("log", 0, 5, 9, Counts(4))
    made = [checkpoints.before(progress, expiring(leaves, day), day * DAY + DAY // 2) for day, leaves in batches]
    return [each.expires_from if each else None for each in made]


def test_a_checkpoint_has_the_counts_of_the_ledger() -> None:
    checkpoint = LedgerCheckpoints(30).before(Progress("log", 2, 5, 9, Counts(1, 2, 0, 1)), [], NOON)
    assert checkpoint is not None
    assert (checkpoint.log_id, checkpoint.partition, checkpoint.start, checkpoint.committed) == ("log", 2, 5, 9)
    assert (checkpoint.stored, checkpoint.duplicate, checkpoint.dead, checkpoint.lost) == (1, 2, 0, 1)
    assert checkpoint.expires_from == TODAY + 30, "a row may yet become a dead letter"


def test_the_first_batch_makes_a_checkpoint_and_others_like_it_none() -> None:
    assert bounds(LedgerCheckpoints(30), (TODAY, TODAY + 20), (TODAY, TODAY + 20), (TODAY, TODAY + 25)) == [
        TODAY + 20,
        None,
        None,
    ]


def test_a_batch_that_exceeds_a_bound_lowers_it_first() -> None:
    batches = [(TODAY, TODAY + 20), (TODAY, TODAY + 2), (TODAY, TODAY + 20), (TODAY, TODAY + 2)]
    assert bounds(LedgerCheckpoints(30), *batches) == [TODAY + 20, TODAY + 2, None, None]


def test_the_bound_of_what_may_have_landed_before_is_kept() -> None:
    progress = Progress("log", 0, 5, 9, Counts(4))
    checkpoint = LedgerCheckpoints(30).before(progress, expiring(TODAY + 30), NOON, ExpiryBound(TODAY + 3, TODAY - 5))
    assert checkpoint is not None
    assert (checkpoint.expires_from, checkpoint.received_from) == (TODAY + 3, TODAY - 5)


def test_another_day_raises_the_bound() -> None:
    batches = [(TODAY, TODAY + 20), (TODAY + 1, TODAY + 21), (TODAY + 1, TODAY + 21), (TODAY + 1, TODAY + 25)]
    assert bounds(LedgerCheckpoints(30), *batches) == [TODAY + 20, TODAY + 21, None, None]


def test_a_checkpoint_has_the_first_day_of_receipt_of_what_follows() -> None:
    checkpoints = LedgerCheckpoints(30)
    progress = Progress("log", 0, 5, 9, Counts(4))
    backlog, fresh = expiring(TODAY + 20, TODAY - 3), expiring(TODAY + 20)
    made = [
        checkpoints.before(progress, rows, NOON + day * DAY)
        for day, rows in enumerate((fresh, backlog, fresh, backlog))
    ]
    assert [each and each.received_from for each in made] == [TODAY, TODAY - 3, TODAY, TODAY - 3]
    again = [checkpoints.before(progress, rows, NOON + 3 * DAY) for rows in (fresh, backlog, fresh)]
    assert again == [None] * 3, "a higher bound waits for another day"


def test_a_batch_received_before_the_bound_makes_a_checkpoint_at_once() -> None:
    checkpoints = LedgerCheckpoints(30)
    progress = Progress("log", 0, 5, 9, Counts(4))
    made = [checkpoints.before(progress, expiring(60_000, TODAY - ago), NOON) for ago in (0, 2, 1, 2)]
    assert [each and each.received_from for each in made] == [TODAY, TODAY - 2, None, None]


def test_just_after_midnight_a_dead_letter_may_still_be_of_yesterday() -> None:
    checkpoints = LedgerCheckpoints(30)
    progress = Progress("log", 0, 5, 9, Counts(4))
    times = (NOON, (TODAY + 1) * DAY + DAY // 1000, (TODAY + 1) * DAY + DAY // 100)
    made = [checkpoints.before(progress, expiring(60_000, TODAY + 1), each) for each in times]
    assert [each and each.received_from for each in made] == [TODAY, None, TODAY + 1]
