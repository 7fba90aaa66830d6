"""The mark proves itself or is none, and knows when it is exact."""

from pathlib import Path

import pytest

from parsec.adapters.broker import mark as marks
from parsec.adapters.broker.mark import NO_BOOT, Mark, MarkFile
from tests.support.fake_files import FakeFiles, PowerCut

PATH = Path("log/mark")
FIRST = Mark("aa" * 16, b"boot" * 4, 10, 200, 30, 1000)
SECOND = Mark("aa" * 16, b"boot" * 4, 10, 300, 40, 1000, clean=True)


def test_it_goes_there_and_back() -> None:
    for mark in (FIRST, SECOND):
        data = marks.pack(mark)
        assert marks.unpack(data) == mark
        for at in range(len(data)):
            damaged = bytearray(data)
            damaged[at] ^= 2
            assert marks.unpack(bytes(damaged)) is None, at
            assert marks.unpack(data[:at]) is None


def test_it_is_exact_after_a_clean_stop_or_while_the_machine_runs() -> None:
    assert FIRST.exact(b"boot" * 4)
    assert not FIRST.exact(b"root" * 4)
    assert SECOND.exact(b"root" * 4)
    unknown = Mark("aa" * 16, NO_BOOT, 10, 200, 30, 1000)
    assert not unknown.exact(NO_BOOT)


def test_a_missing_one_is_no_damage_and_a_short_one_is() -> None:
    files = FakeFiles()
    assert marks.load(files, PATH) == (None, False)
    files.close(files.create(PATH))
    assert marks.load(files, PATH) == (None, True)


def test_a_clean_mark_cannot_come_back_once_a_process_has_begun() -> None:
    for seed in range(30):
        files = FakeFiles(seed)
        MarkFile.begin(files, PATH, SECOND).close()
        MarkFile.begin(files, PATH, FIRST)
        files.power_cut()
        assert marks.load(files, PATH) == (FIRST, False)


def test_a_power_cut_leaves_an_old_one_a_new_one_or_none() -> None:
    for calls in range(8):
        files = FakeFiles(calls)
        file = MarkFile.begin(files, PATH, FIRST)
        files.cut_power_in(calls)
        with pytest.raises(PowerCut):  # noqa: PT012
            for _ in range(10):
                file.write(SECOND)
        files.power_cut()
        assert marks.load(files, PATH)[0] in (FIRST, SECOND, None)
