"""When a driver is told anew where to begin, and when it is replaced (invariant 5 of kafka_reader)."""

from parsec.adapters.kafka.hang_detector import HANGS_AFTER_CHECKS, HANGS_AFTER_S, HangDetector


def test_a_partition_that_moves_or_has_no_more_stands_not_still() -> None:
    suspicion = HangDetector()
    assert not suspicion.is_stalled(0, 5, has_more=True)
    assert not suspicion.is_stalled(0, 6, has_more=True)
    for _ in range(9):
        assert not suspicion.is_stalled(0, 6, has_more=False)
    assert suspicion.why_hung(0) is None


def test_one_that_stands_still_is_told_anew_and_then_replaced() -> None:
    suspicion = HangDetector()
    assert not suspicion.is_stalled(3, 5, has_more=True)
    for _ in range(HANGS_AFTER_CHECKS):
        assert suspicion.why_hung(0) is None
        assert suspicion.is_stalled(3, 5, has_more=True)
    assert "partition 3" in str(suspicion.why_hung(0))
    suspicion.forget(3)
    assert suspicion.why_hung(0) is None


def test_an_open_question_is_waited_for_only_so_long() -> None:
    assert HangDetector().why_hung(HANGS_AFTER_S - 1) is None
    assert "not answered" in str(HangDetector().why_hung(HANGS_AFTER_S))


def test_one_that_reaches_nobody_is_replaced_and_one_that_is_refused_is_not() -> None:
    suspicion = HangDetector()
    for _ in range(HANGS_AFTER_CHECKS - 1):
        suspicion.coordinator_checked(reachable=False)
    suspicion.coordinator_checked(reachable=True)
    for _ in range(HANGS_AFTER_CHECKS - 1):
        suspicion.coordinator_checked(reachable=False)
    assert suspicion.why_hung(0) is None
    suspicion.coordinator_checked(reachable=False)
    assert "coordinator" in str(suspicion.why_hung(0))
