"""The connection to a Redis or Valkey server: short time-outs, and pauses while it does not answer.

In: commands and scripts. Out: the server's answer, or None. Errors: Fatal without the driver, else none: a failure is
logged once, counted by the caller, and no command is sent for a while. Next: parsec.adapters.redis.dedup.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from parsec.core.clock import Clock
from parsec.core.errors import Fatal

if TYPE_CHECKING:
    from redis import Redis

_log = structlog.get_logger(__name__)

COMMAND_S = 0.4
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0

Argument = bytes | str | int | float
Script = Callable[..., Any]


class RedisAddress(msgspec.Struct, frozen=True):
    """The address of the server, and our credentials."""

    host: str
    port: int
    username: str = ""
    password: str = ""
    tls: bool = False
    db: int = 0


class RedisLink:
    """One connection, used by one thread. `meanwhile`: the effect of a missing Redis, for the log."""

    def __init__(self, server: RedisAddress, clock: Clock, meanwhile: str) -> None:
        self.client = _connect(server)
        self._clock = clock
        self._meanwhile = meanwhile
        self._not_before = float("-inf")
        self._failures = 0

    def script(self, text: str) -> Script:
        """Sent by its digest, and in full only to a server that does not know it."""
        return self.client.register_script(text)

    def run(self, script: Script, key: str, arguments: Sequence[Argument]) -> list[Any] | None:
        """The answer of a script about `key`; None as for `ask`."""
        answer: list[Any] | None = self.ask(lambda: script(keys=[key], args=arguments))
        return answer

    def ask(self, call: Callable[[], Any]) -> Any:
        """The answer of Redis; None when there is none, or was none a moment ago."""
        from redis.exceptions import RedisError

        if self._clock.monotonic() < self._not_before:
            return None
        try:
            answer = call()
        except (RedisError, OSError) as error:
            if not self._failures:
                _log.warning("Redis does not answer.", why=str(error), meanwhile=self._meanwhile)
            pause_s = min(FIRST_PAUSE_S * (1 << min(self._failures, 10)), LONGEST_PAUSE_S)
            self._failures += 1
            self._not_before = self._clock.monotonic() + pause_s
            return None
        if self._failures:
            _log.info("Redis answers again.")
            self._failures = 0
        return answer

    def close(self) -> None:
        """Safe to call twice."""
        self.client.close()


def _connect(server: RedisAddress) -> "Redis":
    """Connects with the first command."""
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise Fatal(f"REDIS_ADDR needs the extra `redis` (pip install parsec-logs[redis]): {error}") from error
    return Redis(
        host=server.host,
        port=server.port,
        username=server.username or None,
        password=server.password or None,
        ssl=server.tls,
        db=server.db,
        protocol=2,
        socket_timeout=COMMAND_S,
        socket_connect_timeout=COMMAND_S,
        retry=Retry(NoBackoff(), 0),  # the pauses of `ask` take its place
    )
