"""`parsec serve` with a slow commit, so that a kill often falls between insert and commit; told `forgetful`, also
without recovery by position, so that a test can show that it would see the lack of it.

    python tests/support/sabotaged.py slow|forgetful [the command that it stands for]
"""

import sys
import time
from typing import Any

import msgspec

from parsec.cli import main
from parsec.ports.broker import Assigned, Progress
from parsec.process.backlog import Partition
from parsec.process.loop import Processor

COMMIT_TAKES_S = 0.2

_commit = Processor._commit
_assigned = Partition.__init__


def _slow(*given: Any) -> None:
    time.sleep(COMMIT_TAKES_S)
    _commit(*given)


def _forget(self: Partition, assigned: Assigned) -> None:
    progress = msgspec.structs.replace(assigned.progress, reserved=None, attempt=0)
    _assigned(self, msgspec.structs.replace(assigned, progress=progress))


def _nothing_seen(_: Processor, progress: Progress) -> int:
    return progress.committed


if __name__ == "__main__":
    changes: list[tuple[type, str, Any]] = [(Processor, "_commit", _slow)]
    if sys.argv[1] == "forgetful":
        changes += [(Partition, "__init__", _forget), (Processor, "_seen_below", _nothing_seen)]
    for owner, name, change in changes:
        setattr(owner, name, change)
    main(["serve"])
