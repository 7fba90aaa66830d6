"""A handler for the logging module: records to a Parsec, in the background.

In: log records of any thread. Out: events, by parsec.client.outbox. Errors: none into the program; what cannot be made
an event goes to `handleError`, what cannot be sent is counted in `counts` and told on standard error, once.

    logging.getLogger().addHandler(ParsecHandler("http://127.0.0.1:8080", tenant="acme", source="billing"))

It flushes at exit (the logging module calls `close`), waiting `timeout_s` at most.
"""

import logging
import os
import sys
import weakref

from parsec.client.client import Client
from parsec.client.outbox import Counts, Outbox
from parsec.client.records import Records
from parsec.client.retries import Patience

MAX_BYTES = 8 << 20
_LEAST_BYTES = 64 << 10
_SOCKET_S = 10.0


class ParsecHandler(logging.Handler):
    """Made by hand or by `logging.config.dictConfig` with "class": "parsec.client.ParsecHandler"."""

    def __init__(
        self,
        url: str | None = None,
        *,
        tenant: str | None = None,
        source: str | None = None,
        api_key: str | None = None,
        ca_file: str | None = None,
        max_bytes: int = MAX_BYTES,
        timeout_s: float = 5.0,
    ) -> None:
        """`url` and `api_key` default to PARSEC_URL and PARSEC_API_KEY. `tenant` is needed unless the key names it;
        `source` defaults to each logger's name. At most `max_bytes` of events wait; what comes then is dropped and
        counted. `timeout_s` bounds `flush` and `close`. Raises ValueError and OSError as Client does.
        """
        if max_bytes < _LEAST_BYTES:
            raise ValueError(f"max_bytes is at least {_LEAST_BYTES}")
        super().__init__()
        self._timeout_s = timeout_s
        self._records = Records(tenant, source)
        socket_s = min(_SOCKET_S, max(timeout_s, 1.0))

        def connect() -> Client:
            return Client(url, api_key=api_key, ca_file=ca_file, timeout_s=socket_s)

        connect().close()  # what is wrong with the arguments is told here, not in the background
        self._outbox = Outbox(connect, max_bytes, self._summary, Patience())
        self._begun = False
        _living.add(self)

    @property
    def counts(self) -> Counts:
        """What became of the records: put, sent, dropped, rejected."""
        return self._outbox.counts

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits for the network, never raises."""
        try:
            if self._outbox.is_own_thread():
                return
            message = self.format(record) if self.formatter else record.getMessage()
            self._outbox.put(self._records.event(record, message))
            if not self._begun:
                self._begun = True
                _flush_when_a_worker_ends(self)
        except Exception:  # noqa: BLE001 (the logging module's own way: it prints, when that is wanted)
            self.handleError(record)

    def flush(self, timeout_s: float | None = None) -> bool:  # type: ignore[override]  # a verdict more than None
        """Waits until the events so far have their verdicts; False when that took longer than `timeout_s`."""
        return self._outbox.flush(self._timeout_s if timeout_s is None else timeout_s)

    def close(self) -> None:
        """Flushes; what could not be sent in time is dropped and counted. Safe to call twice."""
        self._outbox.close(self._timeout_s)
        super().close()

    def after_fork(self) -> None:
        """In the child: what waits is the parent's to send, and ids are the child's own."""
        self._outbox.after_fork()
        self._records.renew()
        self._begun = False

    def _summary(self, dropped: int) -> bytes:
        told = f"{dropped:,} log events were dropped before this one: more came than could be sent"
        facts = {"name": __name__, "levelno": logging.WARNING, "msg": told, "dropped": dropped}
        return self._records.event(logging.makeLogRecord(facts), told)


_living: "weakref.WeakSet[ParsecHandler]" = weakref.WeakSet()


def _after_fork() -> None:
    for handler in list(_living):
        handler.after_fork()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)


def _flush_when_a_worker_ends(handler: ParsecHandler) -> None:
    """A forked worker of multiprocessing ends without what the logging module does at exit."""
    multiprocessing = sys.modules.get("multiprocessing")
    util = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None and util is not None and multiprocessing.parent_process() is not None:
        util.Finalize(None, handler.flush, exitpriority=0)
