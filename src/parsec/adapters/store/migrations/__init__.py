"""Migrations: numbered SQL files, each applied once, in order, and recorded in table _migrations.

In: a client whose database exists. Out: its tables, as this version needs them. Errors: Fatal when an applied file has
changed since, or when the store has migrations that this version does not know; the driver's own otherwise. Damaged
records are no error: they are set aside, and every migration is applied again.

A file's statements end with `;` at the end of a line. Applying them twice changes nothing, since a crash may fall
between a statement and its record. `-- needs: FEATURE` in the first line skips the file, without a record, where the
engine lacks the feature; a later start on a newer engine applies it. `-- replaces: TABLE of 1, 3 without COLUMN`: the
file makes TABLE in a new form, which has COLUMN. The present one, of files 1 and 3, is renamed to TABLE_before_N, and
its rows are copied while Parsec runs (parsec.adapters.store.backfill); a new store does without it.
"""

import hashlib
import re
import threading
from importlib import resources
from typing import TYPE_CHECKING

import msgspec
import structlog

from parsec.adapters.store.chdb.damage_errors import is_limit
from parsec.core.errors import Fatal

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS _migrations
(number UInt32, name String, digest String, applied_at DateTime('UTC') DEFAULT now('UTC'))
ENGINE = MergeTree ORDER BY number SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
"""
_PROBES = {"text index": "SELECT count() FROM system.functions WHERE name = 'hasAnyTokens'"}
_CHECK_TABLE = "CHECK TABLE _migrations SETTINGS check_query_single_value_result = 1"
# Numbers of ClickHouse's ErrorCodes.cpp that reading a damaged part raises.
_DAMAGED = frozenset({27, 32, 33, 40, 49, 117, 246, 271, 432})
_MEMORY = 241
FORMER = "_before_"
"""In the names of tables that a migration has replaced."""
_TABLE_EXISTS, _TABLE_UNKNOWN = 57, 60
_REPLACES = re.compile(r"-- replaces: (\w+) of ([0-9, ]+) without (\w+)\n")
_COLUMNS = "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
_lock = threading.Lock()
_log = structlog.get_logger(__name__)


class Replacement(msgspec.Struct, frozen=True):
    """A table that is made anew, the migrations that made its former form, and a column that this form lacks."""

    table: str
    migrations: frozenset[int]
    column: str


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

    @property
    def replaces(self) -> "Replacement | None":
        found = _REPLACES.match(self.sql)
        return Replacement(found[1], frozenset(map(int, found[2].split(","))), found[3]) if found else None


def migrations() -> list[Migration]:
    """The migrations of this version, in order."""
    found = []
    for file in resources.files(__package__).iterdir():
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda m: m.number)


def migrate(client: "Client", known: list[Migration]) -> None:
    """Applies the missing ones.

    The lock is for threads. Other processes are kept out by the data directory's lock; on a server each statement may
    be tried by several and is done by one.
    """
    with _lock:
        client.command(_CREATE_TABLE)
        applied = _applied(client, known)
        _check(applied, known)
        missing = [one for one in known if one.number not in applied and _has(client, one.needs)]
        for migration in missing:
            _apply(client, migration, missing)


def _apply(client: "Client", migration: Migration, missing: list[Migration]) -> None:
    is_needed = not any(
        migration.number in later.replaces.migrations and not _columns(client, later.replaces.table)
        for later in missing
        if later.replaces
    )
    if migration.replaces:
        _rename(client, migration.replaces, migration.number)
    for statement in migration.statements if is_needed else ():
        client.command(statement)
    client.command(
        "INSERT INTO _migrations (number, name, digest) SELECT {number:UInt32}, {name:String}, {digest:String}",
        parameters={"number": migration.number, "name": migration.name, "digest": migration.digest},
    )


def _columns(client: "Client", table: str) -> set[str]:
    return {name for (name,) in client.query(_COLUMNS, parameters={"table": table}).result_rows}


def _rename(client: "Client", replaced: Replacement, number: int) -> None:
    """Makes room for the new form of a table, unless it is there already."""
    from clickhouse_connect.driver.exceptions import Error

    table, columns = replaced.table, _columns(client, replaced.table)
    if not columns or replaced.column in columns:
        return
    try:
        client.command(f"RENAME TABLE {table} TO {table}{FORMER}{number}")
    except Error as error:  # another process was faster
        if error.code not in (_TABLE_EXISTS, _TABLE_UNKNOWN):
            raise


def _applied(client: "Client", known: list[Migration]) -> dict[int, str]:
    """The digests of applied migrations by number; none when the records are damaged."""
    from clickhouse_connect.driver.exceptions import Error

    try:
        found = {row[0]: row[1] for row in client.query("SELECT number, digest FROM _migrations").result_rows}
    except Error as error:
        # A damaged count of rows asks for more memory than there is.
        if error.code not in _DAMAGED and (error.code != _MEMORY or is_limit(error)):
            raise
        return _set_aside(client, str(error)[:500])
    ours = {migration.number: migration.digest for migration in known}
    # A damaged count of rows may also make other values of them, without an error.
    if any(ours.get(number) != digest for number, digest in found.items()) and not _is_sound(client):
        return _set_aside(client, "the engine's check of their checksums fails")
    return found


def _is_sound(client: "Client") -> bool:
    from clickhouse_connect.driver.exceptions import Error

    try:
        return str(client.command(_CHECK_TABLE)) != "0"
    except Error:  # a server may not allow it
        return True


def _set_aside(client: "Client", why: str) -> dict[int, str]:
    client.command("ALTER TABLE _migrations DETACH PARTITION tuple()")
    _log.error(
        "The records of the store's migrations are damaged and were set aside, in `detached` of table _migrations; "
        "every migration is applied again.",
        why=why,
    )
    return {}


def _check(applied: dict[int, str], known: list[Migration]) -> None:
    newer = applied.keys() - {m.number for m in known}
    if newer:
        raise Fatal(f"the store has migration {max(newer)}, which this version does not know: start a newer version")
    for migration in known:
        if applied.get(migration.number, migration.digest) != migration.digest:
            raise Fatal(
                f"migration {migration.number} ({migration.name}) was changed after it had been applied: install the "
                "version of Parsec that the store was last used with, or a newer one"
            )


def _has(client: "Client", feature: str | None) -> bool:
    return feature is None or bool(client.command(_PROBES[feature]))
