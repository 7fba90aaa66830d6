"""Read all parts of the store at a bounded rate, so that damage is found before a query meets it.

In: the engine's parts and its counts of errors. Out: damaged parts, detached by `DamagedParts`; metrics of progress;
definitions put back; `detached/` within its bound. Errors: none: an engine that does not answer is asked again.
Next: parsec.adapters.store.chdb.damaged_parts.

A merge that meets damage fails again and again, and its error reaches no one: the engine only counts it. When such a
count grows and no part was detached for it, a pass begins at once, faster, with the newest parts.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import structlog

from parsec.adapters.store.chdb.damaged_parts import DamagedParts
from parsec.adapters.store.chdb.schema_backup import SchemaBackup
from parsec.core.errors import ParsecError
from parsec.telemetry import Telemetry

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_log = structlog.get_logger(__name__)

BYTES_PER_S = 16 << 20
"""On average: within a part the engine reads as fast as the disk. About 1 ms of CPU per MB: under 2 % of a core."""
URGENT_BYTES_PER_S = 128 << 20
PASS_EVERY_S = 3600.0
"""From the beginning of one pass to that of the next, which a large store exceeds."""
QUIET_S = 600.0
"""After an urgent pass without a find: whatever the engine counts is no damage of a part."""
_LOOK_EVERY_S = 1.0
_PARTS = (
    "SELECT table, name, bytes_on_disk FROM system.parts WHERE database = currentDatabase() AND active AND rows > 0 "
    "ORDER BY modification_time DESC"
)
# Checksum, corrupted data, decompression, codec; end of file, incomplete, logical error: what merges of damaged parts
# were seen to raise. Not 117, invalid data, which odd numbers in metadata raise as well.
_ERRORS = "SELECT sum(value) FROM system.errors WHERE code IN (40, 246, 271, 432, 32, 33, 49)"


class _Part(NamedTuple):
    table: str
    name: str
    bytes: int


class PartScrub:
    """For one thread."""

    def __init__(
        self, connect: Callable[[], "Client"], parts: DamagedParts, definitions: SchemaBackup, telemetry: Telemetry,
        retention_s: float, require_directory: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`require_directory` raises Retryable once the store is not at its path any more."""
        self._connect = connect
        self._parts = parts
        self._definitions = definitions
        self._telemetry = telemetry
        self._retention_s = retention_s
        self._require_directory = require_directory
        self._errors = 0
        self._changes = 0
        self._quiet_until = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """Runs until `stop`, after `DamagedParts.open`."""
        client = self._connect()
        try:
            urgent = False
            while not stop.is_set():
                began = time.monotonic()
                urgent = self._try_pass(client, stop, urgent=urgent)
                while not (urgent or stop.wait(_LOOK_EVERY_S) or time.monotonic() - began >= PASS_EVERY_S):
                    urgent = self._looks_urgent(client)
        finally:
            client.close()

    def _looks_urgent(self, client: "Client") -> bool:
        from clickhouse_connect.driver.exceptions import Error

        try:
            return self._is_urgent(client)
        except (Error, OSError):  # the next pass says so
            return False

    def _try_pass(self, client: "Client", stop: threading.Event, *, urgent: bool) -> bool:
        """A pass; whether an urgent one has to follow."""
        from clickhouse_connect.driver.exceptions import Error

        try:
            return self.check_all(client, stop, urgent=urgent)
        except (Error, OSError, ParsecError) as error:
            _log.warning("Checking the store's parts failed. It will be retried.", why=str(error)[:500])
            stop.wait(_LOOK_EVERY_S)
            return False

    def check_all(self, client: "Client", stop: threading.Event, *, urgent: bool = False) -> bool:
        """One pass over the parts that are there when it begins. True: it ended early, because an urgent one has to
        follow. Raises the driver's errors."""
        self._require_directory()
        self._definitions.restore()
        self._errors, self._changes = self._count_errors(client), self._parts.changes()
        waiting = [_Part(*row) for row in client.query(_PARTS).result_rows]
        rate, left, found = URGENT_BYTES_PER_S if urgent else BYTES_PER_S, sum(part.bytes for part in waiting), 0
        for part in waiting:
            self._telemetry.scrub_waiting.set(left)
            found += self._check(client, part)
            left -= part.bytes
            self._telemetry.scrub_bytes.inc(part.bytes)
            if stop.wait(part.bytes / rate):
                return False
            if not urgent and self._is_urgent(client):
                return True
        self._telemetry.scrub_waiting.set(0)
        self._telemetry.scrub_passed.set(time.time())
        self._parts.prune(self._retention_s)
        if urgent and not found:
            self._quiet_until = time.monotonic() + QUIET_S
        self._errors, self._changes = self._count_errors(client), self._parts.changes()  # the checks count, too
        return False

    def _check(self, client: "Client", part: _Part) -> bool:
        """Whether it was damaged, and was detached."""
        from clickhouse_connect.driver.exceptions import Error

        try:
            damaged = self._parts.check(client, part.table, part.name)
        except Error as error:
            _log.warning("A part of the store could not be checked.", table=part.table, part=part.name,
                         why=str(error)[:500])  # fmt: skip
            return False
        return damaged is not None and self._parts.detach(client, damaged)

    def _is_urgent(self, client: "Client") -> bool:
        errors, changes = self._count_errors(client), self._parts.changes()
        grown, explained = errors > self._errors, changes != self._changes
        self._errors, self._changes = errors, changes
        return grown and not explained and time.monotonic() >= self._quiet_until

    def _count_errors(self, client: "Client") -> int:
        return int(client.query(_ERRORS).result_rows[0][0])
