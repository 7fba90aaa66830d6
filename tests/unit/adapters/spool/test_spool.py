"""Events on this machine for as long as Kafka does not take them, and spools that others have left."""

from pathlib import Path

import pytest

from parsec.adapters.spool.spool import DiskSpool, NoSpool, SpoolReader
from parsec.core.errors import Retryable
from parsec.telemetry import Telemetry
from tests.support.logs import group
from tests.support.spools import OPTIONS, drained, opened


def test_what_goes_in_comes_out_in_order_and_is_gone(tmp_path: Path) -> None:
    telemetry = Telemetry()
    spool = opened(tmp_path, telemetry)
    assert spool.oldest() is None
    for first in (0, 4):
        spool.append(group(first, 4))
    assert spool.waiting == 8
    assert telemetry.value("parsec_spool_events_written_total") == 8
    assert drained(spool) == group(0, 8).lines.splitlines()
    assert (spool.waiting, spool.oldest()) == (0, None)
    spool.close()


def test_what_was_not_drained_is_there_after_a_crash(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(group(0, 6))
    source = spool.oldest()
    assert source is not None
    piece = source.poll(2, 1 << 20)
    assert piece is not None
    source.commit(piece, 0)
    source.poll(2, 1 << 20)  # in hand when the process ends
    spool.close()
    again = opened(tmp_path)
    assert again.waiting == 4
    assert drained(again) == group(2, 4).lines.splitlines()
    again.close()


def test_each_process_has_a_spool_of_its_own(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    second.append(group(0, 1))
    assert (first.waiting, second.waiting) == (0, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]
    first.adopt()  # what is held is left alone
    assert first.waiting == 0
    first.close()
    second.close()


def test_a_spool_that_nobody_holds_is_adopted_drained_and_let_go(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    second.append(group(0, 5))
    second.close()
    first.append(group(5, 2))
    first.adopt()
    assert first.waiting == 7
    assert drained(first) == group(0, 7).lines.splitlines()  # the adopted one first
    third = opened(tmp_path)  # it is free again
    third.append(group(9, 1))
    first.adopt()
    assert first.waiting == 0
    third.close()
    first.adopt()
    assert first.waiting == 1  # also when it was written to since
    first.close()


def test_an_empty_spool_is_not_opened_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path / "other").close()
    (tmp_path / "other" / "0").rename(tmp_path / "7")
    spool = opened(tmp_path)
    spool.adopt()
    tried: list[Path] = []
    original = DiskSpool._open

    def counted(self: DiskSpool, path: Path) -> SpoolReader:
        tried.append(path)
        return original(self, path)

    monkeypatch.setattr(DiskSpool, "_open", counted)
    spool.adopt()
    assert tried == []
    spool.close()


def test_a_full_spool_refuses_and_says_which_setting_bounds_it(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    taken = 0
    while spool.refuses() is None:
        spool.append(group(taken, 1, "x" * 1000))
        taken += 1
    assert "PARSEC_LOG_MAX_BYTES" in str(spool.refuses())
    with pytest.raises(Retryable, match="PARSEC_LOG_MAX_BYTES"):
        spool.append(group(taken, 1))
    assert spool.size_bytes < OPTIONS.max_bytes + 2000  # the group with which it became full
    assert len(drained(spool)) == taken
    assert spool.refuses() is None
    spool.append(group(0, 1))
    spool.close()


def test_what_kafka_never_takes_is_kept_in_a_file(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(group(0, 3))
    source = spool.oldest()
    assert source is not None
    piece = source.poll(9, 1 << 20)
    assert piece is not None
    path = source.keep_refused(list(piece.values[:1]))
    source.commit(piece, 1)
    assert path.read_bytes().splitlines() == list(piece.values[:1])
    assert spool.waiting == 0
    spool.close()
    again = opened(tmp_path)
    assert again.waiting == 0
    again.close()


def test_without_a_spool_everything_is_refused() -> None:
    spool = NoSpool()
    with pytest.raises(Retryable, match="PARSEC_SPOOL"):
        spool.append(group(0, 1))
    assert "PARSEC_SPOOL" in str(spool.refuses())
    assert (spool.oldest(), spool.waiting, spool.size_bytes) == (None, 0, 0)
    spool.adopt()
    spool.close()
