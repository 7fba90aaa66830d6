"""A checkpoint is read back or, when damaged, ignored, and knows when it is exact."""

import contextlib
import errno
from pathlib import Path

import pytest

from parsec.adapters.log.writer import NAMES, Checkpoint, CheckpointFile, load, pack, unpack
from parsec.core.boot import UNKNOWN
from tests.support.fake_files import FakeFiles, Fault, PowerCut

LOG = Path("log")
FIRST = Checkpoint("aa" * 16, b"boot" * 4, 10, 200, 30, 1000)
SECOND = Checkpoint("aa" * 16, b"boot" * 4, 10, 300, 40, 1000, clean=True)


def test_it_goes_there_and_back() -> None:
    for checkpoint in (FIRST, SECOND):
        data = pack(checkpoint)
        assert unpack(data) == checkpoint
        for at in range(len(data)):
            damaged = bytearray(data)
            damaged[at] ^= 2
            assert unpack(bytes(damaged)) is None, at
            assert unpack(data[:at]) is None


def test_it_is_exact_after_a_clean_stop_or_while_the_machine_runs() -> None:
    assert FIRST.is_exact(b"boot" * 4)
    assert not FIRST.is_exact(b"root" * 4)
    assert SECOND.is_exact(b"root" * 4)
    unknown = Checkpoint("aa" * 16, UNKNOWN, 10, 200, 30, 1000)
    assert not unknown.is_exact(UNKNOWN)


def test_a_missing_one_is_no_damage_and_a_short_one_is() -> None:
    files = FakeFiles()
    assert load(files, LOG) == (None, [])
    files.close(files.create(LOG / NAMES[0]))
    assert load(files, LOG) == (None, [NAMES[0]])


def test_a_clean_checkpoint_cannot_come_back_once_a_process_has_begun() -> None:
    for seed in range(30):
        files = FakeFiles(seed)
        CheckpointFile.create(files, LOG, SECOND).close()
        CheckpointFile.create(files, LOG, FIRST)
        files.power_cut()
        assert load(files, LOG) == (FIRST, [])


@pytest.mark.parametrize("name", NAMES)
def test_either_file_is_as_good_as_both(name: str) -> None:
    for content, invalid in ((None, list[str]()), (b"", [name]), (b"\0" * 200, [name])):
        files = FakeFiles()
        CheckpointFile.create(files, LOG, FIRST).write(SECOND)
        files.damage(LOG / name, content)
        assert load(files, LOG) == (SECOND, invalid)


def test_a_write_that_fails_leaves_the_checkpoint_before() -> None:
    for skip in (0, 1):
        files = FakeFiles()
        file = CheckpointFile.create(files, LOG, FIRST)
        files.fail(Fault("write", 0, skip, taken=50))
        with pytest.raises(OSError, match="in part"):
            file.write(SECOND)
        assert load(files, LOG) == ((SECOND if skip else FIRST), [NAMES[skip]])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [None, b"no checkpoint"])
def test_dying_while_one_file_is_repaired_leaves_the_other(name: str, content: bytes | None) -> None:
    for calls in range(6):
        for seed in range(5):
            files = FakeFiles(seed)
            CheckpointFile.create(files, LOG, FIRST)
            files.damage(LOG / name, content)
            files.cut_power_in(calls)
            with contextlib.suppress(PowerCut):
                CheckpointFile.create(files, LOG, SECOND)
            files.restart()
            assert load(files, LOG)[0] in (FIRST, SECOND)


def test_a_file_that_cannot_be_opened_for_a_moment_is_not_taken_for_none() -> None:
    files = FakeFiles()
    CheckpointFile.create(files, LOG, FIRST)
    files.fail(Fault("open", errno.EMFILE))
    with pytest.raises(OSError, match="injected"):
        load(files, LOG)
    files.fail(Fault("read", errno.EIO))
    assert load(files, LOG) == (FIRST, [NAMES[0]])


def test_a_power_cut_leaves_an_old_one_a_new_one_or_none() -> None:
    for calls in range(8):
        files = FakeFiles(calls)
        file = CheckpointFile.create(files, LOG, FIRST)
        files.cut_power_in(calls)
        with pytest.raises(PowerCut):  # noqa: PT012
            for _ in range(10):
                file.write(SECOND)
        files.power_cut()
        assert load(files, LOG)[0] in (FIRST, SECOND, None)
