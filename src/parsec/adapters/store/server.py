"""A ClickHouse server, behind the same client as the embedded engine.

In: its address and a user. Out: clients, and blocks written through them. Errors: Fatal for a wrong address or user,
Retryable while the server does not answer; the driver's own from inserts. Next: parsec.adapters.store.clickhouse.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from parsec.adapters.store.native import Table
from parsec.core.errors import Fatal, Retryable

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

CONNECT_TIMEOUT_S = 10
RESPONSE_TIMEOUT_S = 60


class ClickHouseServer(msgspec.Struct, frozen=True, kw_only=True):
    """`url`: http or https, host and port."""

    url: str
    user: str
    password: str
    database: str

    def connect(self, settings: Mapping[str, str | int]) -> "Client":
        """A client for one thread. Creates the database when it is missing. Raises Fatal, Retryable."""
        try:
            from clickhouse_connect.driver import create_client
            from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
        except ImportError as error:
            raise Fatal(
                f"STORAGE_BACKEND=clickhouse needs the extra `embedded` (pip install parsec-logs[embedded]): {error}"
            ) from error
        try:
            client = create_client(
                dsn=self.url,
                username=self.user,
                password=self.password,
                connect_timeout=CONNECT_TIMEOUT_S,
                send_receive_timeout=RESPONSE_TIMEOUT_S,
                autogenerate_session_id=False,  # queries of one session cannot run at the same time
                tz_source="server",
                compress=False,  # most answers are small and most servers near
            )
            client.command(f"CREATE DATABASE IF NOT EXISTS `{self.database}`")
            client.database = self.database
            for name, value in settings.items():
                client.set_client_setting(name, value)
        except OperationalError as error:
            raise Retryable(f"ClickHouse at {self.url} does not answer; check CLICKHOUSE_URL: {error}") from error
        except (ClickHouseError, OSError, ValueError) as error:
            raise Fatal(
                f"ClickHouse at {self.url} refuses the connection; check CLICKHOUSE_URL, CLICKHOUSE_USER and "
                f"CLICKHOUSE_PASSWORD: {error}"
            ) from error
        return client

    def write(self, client: "Client", table: Table, settings: str, blocks: Iterable[bytes]) -> None:
        client.raw_insert(f"{table.insert_into} SETTINGS {settings}", insert_block=b"".join(blocks), fmt="Native")

    def make_durable(self, client: "Client") -> None:
        """Nothing to do: the server's settings and disks decide what survives a power cut."""

    def detach_damaged(self, error: BaseException) -> bool:  # noqa: ARG002 (as in the protocol)
        """False: a server's parts are the care of those who run it."""
        return False

    def damage_changes(self) -> int:
        """0: it detaches none."""
        return 0
