"""`parsec serve` with a fault of the processor's, or of the questions', or with other constants than ours.

    python tests/support/sabotaged.py FAULT NAME=number... [the command it replaces]

slow: a commit takes long, so that a kill often falls between insert and commit. forgetful: also without recovery by
position, so that a test can show that it would see the lack of it. idle: nothing is ever read from the log. refusing:
the store takes no block with a message that begins with `poison`. torn: no page after the first is answered.
unrepaired: the log has nothing of what the store has lost.
endless: the store is asked for events in a way that never ends. ailing: calls of the log to the file system fail with
the error number in the file `<data directory>.fault`, while there is one.

NAME: of CONSTANTS. What no operator has a reason to change is no setting; this is the only way to change it, for tests
that would otherwise wait for minutes or write gigabytes.
"""

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from parsec.adapters.log.files import Files
from parsec.adapters.log.reader import EmbeddedReader
from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.cli import main
from parsec.core.errors import Poison, Rejected
from parsec.ports.broker import Assigned, Progress
from parsec.ports.store import QueryLimits, Row, StoreReader
from parsec.process import lost_records
from parsec.process.loop import Processor
from parsec.process.partitions import Partition
from parsec.query.sql.page import Page, PageRequest, page
from parsec.web.routes import query
from parsec.web.routes.health import stage_check
from parsec.wiring import log, processor, web

COMMIT_TAKES_S = 0.2

_commit = Processor._commit
_insert = ClickHouseStore.insert
_assigned = Partition.__init__


def _slow(*given: Any) -> None:
    time.sleep(COMMIT_TAKES_S)
    _commit(*given)


def _forget(self: Partition, assigned: Assigned, *rest: Any) -> None:
    progress = msgspec.structs.replace(assigned.progress, reserved=None, attempt=0)
    _assigned(self, msgspec.structs.replace(assigned, progress=progress), *rest)


def _nothing_landed(_: Processor, progress: Progress) -> int:
    return progress.committed


def _idle(_: Processor, max_wait_s: float) -> None:
    time.sleep(max_wait_s)


def _refuse(self: ClickHouseStore, rows: Sequence[Row], token: str) -> None:
    if any(row.message.startswith("poison") for row in rows):
        raise Poison("cannot parse a row")
    _insert(self, rows, token)


def _first_only(store: StoreReader, question: PageRequest, limits: QueryLimits) -> Page:
    if question.cursor:
        raise Rejected("query_too_expensive", "torn")
    return page(store, question, limits)


def _endless(store: StoreReader, _: PageRequest, limits: QueryLimits) -> Any:
    return store.select("SELECT count() FROM numbers(200000000000) WHERE sipHash64(number) = 1", {}, limits, tuple)


def _ailing(call: Any) -> Any:
    def ail(*given: Any) -> Any:
        with suppress(FileNotFoundError):
            code = int(Path(f"{os.environ['PARSEC_DATA_DIR']}.fault").read_text())
            raise OSError(code, os.strerror(code))
        return call(*given)

    return ail


_SLOW: tuple[object, str, Any] = (Processor, "_commit", _slow)
FAULTS: dict[str, list[tuple[object, str, Any]]] = {
    "ailing": [
        (Files, "sync", staticmethod(_ailing(Files.sync))),
        (Files, "write", staticmethod(_ailing(Files.write))),
        (Files, "create", _ailing(Files.create)),
    ],
    "endless": [(query, "page", _endless)],
    "torn": [(query, "page", _first_only)],
    "slow": [_SLOW],
    "forgetful": [_SLOW, (Partition, "__init__", _forget), (Processor, "_landed_below", _nothing_landed)],
    "idle": [(Processor, "step", _idle), (processor, "stage_check", partial(stage_check, stall_after_s=3600.0))],
    "refusing": [(ClickHouseStore, "insert", _refuse)],
    "unrepaired": [(EmbeddedReader, "read_again", lambda *_: None)],
}


CONSTANTS: dict[str, tuple[ModuleType, str, str]] = {
    "STATS_INTERVAL_S": (web, "STATS_INTERVAL_S", ""),
    "SEGMENT_BYTES": (log, "SEGMENT_BYTES", ""),
    "HEAD_TIMEOUT_S": (web, "ClientLimits", "head_timeout_s"),
    "BODY_TIMEOUT_S": (web, "ClientLimits", "body_timeout_s"),
    "SEND_TIMEOUT_S": (web, "ClientLimits", "send_timeout_s"),
    "MIN_BYTES_PER_S": (web, "ClientLimits", "min_rate"),
    "INSERT_BYTES": (processor, "InsertLimits", "max_bytes"),
    "REPAIR_OFFSETS": (lost_records, "REPAIR_OFFSETS", ""),
    "TAILS": (processor, "TailLimits", "in_all"),
    "TAILS_PER_TENANT": (processor, "TailLimits", "per_tenant"),
    "TAIL_BYTES": (processor, "TailLimits", "waiting_bytes"),
}
"""A constant of a module, or a default of a struct that the wiring makes."""


def under(fault: str = "", **constants: float) -> tuple[str, ...]:
    """The command for a `tests.support.process.Parsec` with this fault and these CONSTANTS."""
    assert constants.keys() <= CONSTANTS.keys()
    return sys.executable, __file__, fault, *(f"{name}={value}" for name, value in constants.items())


def set_constant(constant: str) -> None:
    name, _, text = constant.partition("=")
    value = float(text) if "." in text else int(text)
    module, attribute, field = CONSTANTS[name]
    setattr(module, attribute, partial(getattr(module, attribute), **{field: value}) if field else value)


if __name__ == "__main__":
    for owner, name, change in FAULTS.get(sys.argv[1], ()):
        assert hasattr(owner, name), f"nothing is called {name} in {owner}"
        setattr(owner, name, change)
    for each in sys.argv[2:]:
        if each.partition("=")[0] in CONSTANTS:
            set_constant(each)
    main(["serve"])
