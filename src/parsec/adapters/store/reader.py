"""Queries to ClickHouse, each within its limits, each stopped when its client has gone.

In: SQL with bound values. Out: rows. Errors: Rejected(query_too_expensive), Retryable, Fatal as in the port.
Next: parsec.query.

1. A client is used by one thread at a time: each querying thread has its own, which is read-only. KILL QUERY needs one
   that is not.
2. A query carries a unique `log_comment`, by which it is killed: repeatedly until it has ended, for it may not have
   started yet.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
from clickhouse_connect.driver.exceptions import ClickHouseError

from parsec.adapters.store import errors
from parsec.core.errors import Fatal
from parsec.ports.store import Cancellation, QueryLimits, T

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

# 2: a query may bring settings. The longest expression makes a statement of several hundred kB, and a statement cannot
# raise the bounds that it is read under.
_READ_ONLY = {"readonly": 2, "max_query_size": 4 << 20, "max_ast_elements": 1_000_000}
_SETTINGS = {
    # Its threads, 100 of them, hold three open files each for as long as the process runs.
    "merge_tree_use_prefixes_deserialization_thread_pool": 0,
    "query_plan_max_limit_for_lazy_materialization": 20_000,  # the largest page reads its texts last, too
    "date_time_output_format": "'iso'",
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_escape_forward_slashes": 0,
}
_KILL = "KILL QUERY WHERE Settings['log_comment'] = {comment:String} ASYNC"
_KILL_EVERY_S = 0.1

Connect = Callable[[Mapping[str, str | int]], "Client"]


class ClickHouseReader:
    """StoreReader, with one read-only client for each thread."""

    def __init__(self, connect: Connect, detach_damaged: errors.DetachDamaged) -> None:
        self._connect = connect
        self._detach_damaged = detach_damaged
        self._own = threading.local()
        self._lock = threading.Lock()
        self._clients: list[Client] = []
        self._closed = False

    def select(self, sql: str, parameters: Mapping[str, Any], limits: QueryLimits, into: type[T]) -> list[T]:
        comment = uuid4().hex
        settings = {
            "max_memory_usage": limits.max_memory_bytes, "max_execution_time": limits.timeout_s,
            "max_result_rows": limits.max_result_rows, "max_result_bytes": limits.max_result_bytes,
            "max_rows_to_read": limits.max_rows_read, "max_bytes_to_read": limits.max_bytes_read,
            "max_threads": limits.max_threads, "log_comment": f"'{comment}'", **_SETTINGS,
        }  # fmt: skip
        text = f"{sql}\nSETTINGS {', '.join(f'{name} = {value}' for name, value in settings.items())}"
        with self._cancellable(comment, limits.cancellation):
            lines = errors.without_damage(
                lambda: self._client().raw_query(text, parameters=dict(parameters), fmt="JSONCompactEachRow"),
                self._detach_damaged,
            )
        return msgspec.json.Decoder(into).decode_lines(lines)

    def close(self) -> None:
        """Closes the clients of all threads, each after its running query."""
        with self._lock:
            self._closed = True
            clients, self._clients = self._clients, []
        for client in clients:
            client.close()

    @contextmanager
    def _cancellable(self, comment: str, cancellation: Cancellation | None) -> Iterator[None]:
        if cancellation is None:
            yield
            return
        ended = threading.Event()
        with cancellation.stopped_by(lambda: self._kill(comment, ended)):
            try:
                yield
            finally:
                ended.set()

    def _kill(self, comment: str, ended: threading.Event) -> None:
        """Returns when the query has ended. Called on another thread than the query's."""
        while not ended.is_set():
            try:
                self._client("killer", {}).query(_KILL, parameters={"comment": comment})
            except (ClickHouseError, OSError) as error:
                raise errors.of_query(error) from error
            ended.wait(_KILL_EVERY_S)

    def _client(self, name: str = "reader", settings: Mapping[str, str | int] = _READ_ONLY) -> "Client":
        client: Client | None = getattr(self._own, name, None)
        if client is None or self._closed:
            with self._lock:
                if self._closed:
                    raise Fatal("the store is closed")
                client = self._connect(settings)
                setattr(self._own, name, client)
                self._clients.append(client)
        return client
