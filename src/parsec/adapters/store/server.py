"""A ClickHouse server, behind the same client as the embedded engine.

In: its address and a user. Out: clients, and blocks written through them. Errors: Fatal for a wrong address or user,
Retryable while the server does not answer; the driver's own from inserts. Next: parsec.adapters.store.clickhouse.

What an insert's answer says is the server's business: its own settings and disks decide what survives a power cut, so
there is nothing to settle here.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import msgspec

from parsec.core.errors import Fatal, Retryable

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

CONNECT_TIMEOUT_S = 10
ANSWER_TIMEOUT_S = 60


class ClickHouseServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server is and who asks. `url`: http or https, host and port."""

    url: str
    user: str
    password: str
    database: str

    def connect(self, settings: Mapping[str, str | int]) -> "Client":
        """A client for one thread, in its database, which is made when it is missing. Raises Fatal, Retryable."""
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
                send_receive_timeout=ANSWER_TIMEOUT_S,
                autogenerate_session_id=False,  # else no two questions of a client could run at once
                tz_source="server",
                compress=False,  # of blocks that are read; most answers are small, most servers near
            )
            client.command(f"CREATE DATABASE IF NOT EXISTS `{self.database}`")
            client.database = self.database
            for name, value in settings.items():
                client.set_client_setting(name, value)
        except OperationalError as error:
            raise Retryable(f"the ClickHouse server at {self.url} does not answer: {error}") from error
        except (ClickHouseError, OSError, ValueError) as error:
            raise Fatal(f"the ClickHouse server at {self.url} cannot be used: {error}") from error
        return client

    def write(self, client: "Client", into: str, settings: str, blocks: Iterable[bytes]) -> None:
        """Inserts blocks in Native format as one. `into` is `table (columns)`; both texts are ours."""
        client.raw_insert(f"{into} SETTINGS {settings}", insert_block=b"".join(blocks), fmt="Native")

    def settle(self, client: "Client") -> None:
        """What the server has answered is as safe as it makes it."""
