"""When a driver is told anew where to begin, and when it is replaced (invariant 5 of kafka_reader)."""

from parsec.adapters.kafka.hang_detector import HANGS_AFTER_CHECKS, HANGS_AFTER_S, HangDetector


def test_a_partition_that_moves_or_has_no_more_stands_not_still() -> None:
    suspicion = HangDetector()
    assert not suspicion.stands_still(0, 5, waits=True)
    assert not suspicion.stands_still(0, 6, waits=True)
    for _ in range(9):
        assert not suspicion.stands_still(0, 6, waits=False)
    assert suspicion.hangs(0) is None


def test_one_that_stands_still_is_told_anew_and_then_replaced() -> None:
    suspicion = HangDetector()
    assert not suspicion.stands_still(3, 5, waits=True)
    for _ in range(HANGS_AFTER_CHECKS):
        assert suspicion.hangs(0) is None
        assert suspicion.stands_still(3, 5, waits=True)
    assert "partition 3" in str(suspicion.hangs(0))
    suspicion.forget(3)
    assert suspicion.hangs(0) is None


def test_an_open_question_is_waited_for_only_so_long() -> None:
    assert HangDetector().hangs(HANGS_AFTER_S - 1) is None
    assert "not answered" in str(HangDetector().hangs(HANGS_AFTER_S))


def test_one_that_reaches_nobody_is_replaced_and_one_that_is_refused_is_not() -> None:
    suspicion = HangDetector()
    for _ in range(HANGS_AFTER_CHECKS - 1):
        suspicion.heard(answered=False)
    suspicion.heard(answered=True)
    for _ in range(HANGS_AFTER_CHECKS - 1):
        suspicion.heard(answered=False)
    assert suspicion.hangs(0) is None
    suspicion.heard(answered=False)
    assert "coordinator" in str(suspicion.hangs(0))
