"""Which tests run on the same worker of pytest-xdist (`-n`), one after another.

Not by the mark `xdist_group`: pytest-xdist 3.8 on pytest 9.2 ignores it without a word (pytest-dev/pytest-xdist#1386).
"""

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[2]
KAFKA = "tests.support.kafka_"
TIMED = {
    f"test_{name}.py"
    for name in ("attackers", "backlog", "fairness", "full_disk", "power_cut", "redis_away", "shared_limits", "stalls")
}
"""They need most of the machine, or an answer within some time."""


class ByGroup(LoadScopeScheduling):
    """The largest groups first."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid.partition("::")[0])


@cache
def group(file: str) -> str:
    """A file is the smallest group, so that its module fixtures are made once. `file`: relative to the repository."""
    path = ROOT / file
    if KAFKA in path.read_text():
        return "kafka"  # brokers take much memory, and look for ports by the number of the process
    return "timed" if path.name in TIMED else file
