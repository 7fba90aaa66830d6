"""Tests that would disturb each other run on one worker of pytest-xdist."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from tests.support.distribution import ROOT, TIMED, group

TESTS = [str(path.relative_to(ROOT)) for path in ROOT.glob("tests/*/**/test_*.py")]

WHERE = """
import os

def test_where():
    print(__name__, os.environ["PYTEST_XDIST_WORKER"], "END")
"""


def test_every_file_that_starts_brokers_is_in_one_group() -> None:
    on_kafka = {file for file in TESTS if group(file) == "kafka"}
    assert {file for file in TESTS if Path(file).name.startswith("test_kafka")} <= on_kafka
    assert "tests/contract/test_log_contract.py" in on_kafka


def test_files_that_look_at_the_clock_are_in_one_group_and_all_others_by_themselves() -> None:
    groups = defaultdict(set)
    for file in TESTS:
        groups[group(file)].add(file)
    assert {Path(file).name for file in groups.pop("timed")} == TIMED
    del groups["kafka"]
    assert all(files == {name} for name, files in groups.items())


def test_pytest_keeps_to_the_groups(tmp_path: Path) -> None:
    """The mark of pytest-xdist would be ignored without a word."""
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_xdist_make_scheduler\n"
        "from tests.support import distribution\n"
        "distribution.group = lambda file: file[5]\n"
    )
    for name in ("a1", "a2", "b1", "b2"):
        (tmp_path / f"test_{name}.py").write_text(WHERE)
    command = [sys.executable, "-m", "pytest", "-n2", "-rP", "-p", "no:schemathesis", "--rootdir", str(tmp_path)]
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    workers = defaultdict(set)
    for line in done.stdout.splitlines():
        if line.endswith(" END"):
            name, worker, _ = line.split()
            workers[name[5]].add(worker)
    assert workers in ({"a": {"gw0"}, "b": {"gw1"}}, {"a": {"gw1"}, "b": {"gw0"}}), done.stdout
