"""Numbered SQL files to a schema: each is applied once, in order, and noted in table _migrations.

In: a client whose database exists. Out: its tables, as this version wants them. Errors: Fatal when a file that was
applied has changed since, or when the store knows migrations that this version does not; the driver's own otherwise.
Damaged notes are no error: they are set aside, and made anew.

A file's statements end with `;` at the end of a line. They are written so that applying them twice changes nothing,
for a crash may fall between a statement and its note. `-- needs: FEATURE` in the first line skips the file, without
a note, where the engine lacks the feature; a later start on a newer engine applies it.
"""

import hashlib
import threading
from importlib import resources
from typing import TYPE_CHECKING

import msgspec
import structlog

from parsec.core.errors import Fatal

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_NOTES = """
CREATE TABLE IF NOT EXISTS _migrations
(number UInt32, name String, digest String, applied_at DateTime('UTC') DEFAULT now('UTC'))
ENGINE = MergeTree ORDER BY number SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""
_PROBES = {"text index": "SELECT count() FROM system.functions WHERE name = 'hasAnyTokens'"}
# Numbers of ClickHouse's ErrorCodes.cpp: what reading of a damaged part raises.
_DAMAGED = frozenset({32, 33, 40, 117, 246, 271, 432})
_lock = threading.Lock()
_log = structlog.get_logger(__name__)


class Migration(msgspec.Struct, frozen=True):
    """One file: `0001_events.sql` has number 1 and name `events`."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        return [part.strip() for part in (self.sql + "\n").split(";\n") if part.strip()]

    @property
    def needs(self) -> str | None:
        first = self.sql.partition("\n")[0]
        return first.removeprefix("-- needs:").strip() if first.startswith("-- needs:") else None


def migrations() -> list[Migration]:
    """Those that come with this version, in order."""
    found = []
    for file in resources.files(__package__).iterdir():
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda m: m.number)


def migrate(client: "Client", known: list[Migration]) -> None:
    """Applies what is missing. One at a time in this process; the data directory's lock keeps other processes out."""
    with _lock:
        client.command(_NOTES)
        noted = _noted(client)
        _check(noted, known)
        for migration in known:
            if migration.number in noted or not _has(client, migration.needs):
                continue
            for statement in migration.statements:
                client.command(statement)
            client.command(
                "INSERT INTO _migrations (number, name, digest) SELECT {number:UInt32}, {name:String}, {digest:String}",
                parameters={"number": migration.number, "name": migration.name, "digest": migration.digest},
            )


def _noted(client: "Client") -> dict[int, str]:
    """Digests by number. Where the notes are damaged there are none: what is applied twice changes nothing."""
    from clickhouse_connect.driver.exceptions import Error

    try:
        return {row[0]: row[1] for row in client.query("SELECT number, digest FROM _migrations").result_rows}
    except Error as error:
        if error.code not in _DAMAGED:
            raise
        client.command("ALTER TABLE _migrations DETACH PARTITION tuple()")
        _log.error(
            "The notes of the store's migrations are damaged and were set aside, in `detached` of table _migrations; "
            "each migration is applied again.",
            why=str(error)[:500],
        )
        return {}


def _check(noted: dict[int, str], known: list[Migration]) -> None:
    newer = noted.keys() - {m.number for m in known}
    if newer:
        raise Fatal(f"the store has migration {max(newer)}, which this version does not know: start a newer version")
    for migration in known:
        if noted.get(migration.number, migration.digest) != migration.digest:
            raise Fatal(f"migration {migration.number} ({migration.name}) was changed after it had been applied")


def _has(client: "Client", feature: str | None) -> bool:
    return feature is None or bool(client.command(_PROBES[feature]))
