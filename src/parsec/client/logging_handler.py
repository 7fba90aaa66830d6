"""A handler for the logging module: sends records to a Parsec in the background.

In: log records of any thread. Out: events, in a queue that a thread sends. Errors: none into the program; a message
that cannot be formatted is sent unformatted and reported by `handleError`, events that cannot be sent are counted in
`counts` and reported once on standard error. Next: parsec.client.record_encoder.

    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addHandler(ParsecHandler("http://127.0.0.1:8080", tenant="acme", source="billing"))

It flushes at exit (the logging module calls `close`), for at most `timeout_s`.
"""

import logging
import os
import sys
import weakref

from parsec.client.client import Client
from parsec.client.json_values import text_of
from parsec.client.record_encoder import RecordEncoder
from parsec.client.retries import RetryPolicy
from parsec.client.send_queue import SendCounts, SendQueue

DEFAULT_MAX_BYTES = 8 << 20
_LEAST_MAX_BYTES = 64 << 10
_SOCKET_S = 10.0


class ParsecHandler(logging.Handler):
    """Create it yourself, or by `logging.config.dictConfig` with "class": "parsec.client.ParsecHandler"."""

    def __init__(
        self, url: str | None = None, *, tenant: str | None = None, source: str | None = None,
        api_key: str | None = None, ca_file: str | None = None, max_bytes: int = DEFAULT_MAX_BYTES,
        timeout_s: float = 5.0,
    ) -> None:  # fmt: skip
        """`url` and `api_key` default to PARSEC_URL and PARSEC_API_KEY. `tenant` is needed unless the key names it;
        `source` defaults to each logger's name. At most `max_bytes` of events wait; further ones are dropped and
        counted. `timeout_s` bounds `flush` and `close`. Raises ValueError and OSError as Client does.
        """
        if max_bytes < _LEAST_MAX_BYTES:
            raise ValueError(f"max_bytes must be at least {_LEAST_MAX_BYTES}")
        super().__init__()
        self._timeout_s = timeout_s
        self._encoder = RecordEncoder(tenant, source)
        socket_s = min(_SOCKET_S, max(timeout_s, 1.0))

        def connect() -> Client:
            return Client(url, api_key=api_key, ca_file=ca_file, timeout_s=socket_s)

        connect().close()  # wrong arguments fail here, not in the background
        self._queue = SendQueue(connect, max_bytes, self._drop_summary, RetryPolicy())
        self._used = False
        _handlers.add(self)

    @property
    def counts(self) -> SendCounts:
        """How many records were put, sent, dropped and rejected."""
        return self._queue.counts

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits for the network, never raises."""
        try:
            if self._queue.is_own_thread():
                return
            try:
                message, failure = self.format(record) if self.formatter else record.getMessage(), None
            except Exception as error:  # noqa: BLE001 (arguments may raise anything)
                self.handleError(record)
                message, failure = text_of(record.msg), error
            self._queue.put(self._encoder.encode(record, message, failure))
            if not self._used:
                self._used = True
                _flush_at_worker_exit(self)
        except Exception:  # noqa: BLE001 (the logging module's own way: it prints, when that is wanted)
            self.handleError(record)

    def flush(self, timeout_s: float | None = None) -> bool:  # type: ignore[override]  # True or False, not None
        """Waits until all events so far are sent, rejected or dropped; False when that took longer."""
        return self._queue.flush(self._timeout_s if timeout_s is None else timeout_s)

    def close(self) -> None:
        """Flushes, then drops and counts what could not be sent in time. Safe to call twice."""
        self._queue.close(self._timeout_s)
        super().close()

    def after_fork(self) -> None:
        """In the child: the parent sends the events that wait, and ids are the child's own."""
        self._queue.after_fork()
        self._encoder.restart_ids()
        self._used = False

    def _drop_summary(self, dropped: int) -> bytes:
        text = (
            f"{dropped:,} log events were dropped before this one, because they arrived faster than they could be sent"
        )
        facts = {"name": __name__, "levelno": logging.WARNING, "msg": text, "dropped": dropped}
        return self._encoder.encode(logging.makeLogRecord(facts), text)


_handlers: "weakref.WeakSet[ParsecHandler]" = weakref.WeakSet()


def _after_fork() -> None:
    for handler in list(_handlers):
        handler.after_fork()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)


def _flush_at_worker_exit(handler: ParsecHandler) -> None:
    """A forked worker of multiprocessing skips the exit functions of the logging module."""
    multiprocessing = sys.modules.get("multiprocessing")
    util = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None and util is not None and multiprocessing.parent_process() is not None:
        util.Finalize(None, handler.flush, exitpriority=0)
