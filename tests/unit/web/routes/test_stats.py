"""The sums of the ledger, with what spools have lost."""

import msgspec

from parsec.api.status import LedgerStats, LostSpan, SpoolLedger
from parsec.ports.broker import Counts, Progress
from parsec.web.routes.stats import Ledger, partition_ledger

SPOOL = SpoolLedger("spool/0", "a", 50, 150, [LostSpan(100, 150, "2027-01-15T08:00:00Z")])
PARTITION = partition_ledger(Progress("k", 0, 10, 360, Counts(stored=340, duplicate=7, lost=3)), 400)


def test_each_event_that_a_spool_lost_is_a_committed_offset_that_is_lost() -> None:
    sums = Ledger([PARTITION], 0, [SPOOL]).with_sums()
    assert (sums.start, sums.committed, sums.end, sums.stored) == (10, 410, 450, 340)
    assert (sums.lost, sums.difference, sums.in_flight) == (53, 0, 40)
    assert 410 - 10 == 340 + 7 + 53
    assert (sums.partitions, sums.spools) == ([PARTITION], [SPOOL])


def test_without_a_loss_nothing_is_said_of_spools() -> None:
    sums = Ledger([PARTITION], 0).with_sums()
    assert (sums.committed, sums.lost, sums.spools) == (360, 3, msgspec.UNSET)
    assert Ledger([], 0).with_sums() == LedgerStats()


def test_a_process_without_partitions_still_says_what_its_spool_lost() -> None:
    assert Ledger([], 0, [SPOOL]).with_sums() == LedgerStats(lost=50, spools=[SPOOL])
