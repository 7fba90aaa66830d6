"""A handler for the logging module: records to a Parsec, in the background.

In: log records of any thread. Out: events, by parsec.client.send_queue. Errors: none into the program; what cannot
be made an event goes to `handleError`, what cannot be sent is counted in `counts` and told on standard error, once.

    logging.getLogger().addHandler(ParsecHandler("http://127.0.0.1:8080", tenant="acme", source="billing"))

It flushes at exit (the logging module calls `close`), waiting `timeout_s` at most.
"""

import itertools
import logging
import os
import sys
import weakref
from typing import Any

import msgspec

from parsec.client.client import Client
from parsec.client.retries import RetryPolicy
from parsec.client.send_queue import Counts, SendQueue

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
        self._outbox = SendQueue(connect, max_bytes, self._summary, RetryPolicy())
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


MOST_BYTES = 200 << 10
"""A Parsec takes 256 KiB by default, envelope included."""
_MOST_CHARACTERS = 64 << 10
_LEAST_CHARACTERS = 8 << 10
"""What is kept for sure of message and traceback: escaped, 48 KiB each."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SEVERITIES = ((50, "fatal"), (40, "error"), (30, "warn"), (20, "info"), (10, "debug"))
_EMPTY = "(empty)"


def severity(level: int) -> str:
    """The gravest one that a level of the logging module reaches."""
    return next((name for least, name in _SEVERITIES if level >= least), "trace")


class Records:
    """To events of one tenant (None: the key's) and source (None: the logger's name)."""

    def __init__(self, tenant: str | None, source: str | None) -> None:
        self._tenant = tenant
        self._source = source
        self.renew()

    def renew(self) -> None:
        """Ids of a process are its own, also of one that was forked."""
        self._prefix = os.urandom(8).hex()
        self._numbers = itertools.count(1)

    def event(self, record: logging.LogRecord, message: str) -> bytes:
        """`message` is what the record says, formatted."""
        own = _own(record)
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        metadata = own | {f"_{name}" if name in own else name: value for name, value in extra.items()}
        encoded = self._encoded(record, message[:_MOST_CHARACTERS], metadata)
        if len(encoded) <= MOST_BYTES:
            return encoded
        if "exception" in own:
            own["exception"]["traceback"] = own["exception"]["traceback"][-_LEAST_CHARACTERS:]
        own = {name: value[-_LEAST_CHARACTERS:] if isinstance(value, str) else value for name, value in own.items()}
        return self._encoded(record, message[:_LEAST_CHARACTERS], own | {"cut": f"{len(encoded)} bytes"})

    def _encoded(self, record: logging.LogRecord, message: str, metadata: dict[str, Any]) -> bytes:
        event = {
            "id": f"{self._prefix}-{next(self._numbers)}",
            "timestamp": int(record.created * 1_000_000),
            "severity": severity(record.levelno or 0),
            "source": (self._source or record.name or "root")[:256],
            "message": message if message.strip() else _EMPTY,
            "metadata": metadata,
        }
        if self._tenant is not None:
            event["tenant_id"] = self._tenant
        try:
            return _ENCODER.encode(event)
        except Exception:  # noqa: BLE001 (values are anyone's, and so is what goes wrong with them)
            return _ENCODER.encode(_plain(event))


def _own(record: logging.LogRecord) -> dict[str, Any]:
    """What the logging module knows of a record."""
    found: dict[str, Any] = {
        "logger": record.name,
        "file": f"{record.pathname}:{record.lineno}",
        "function": record.funcName,
        "process": record.process,
        "thread": record.threadName,
    }
    task = getattr(record, "taskName", None)
    if task is not None:
        found["task"] = task
    if record.exc_info and record.exc_info[0] is not None:
        kind, error, _ = record.exc_info
        found["exception"] = {
            "type": kind.__qualname__,
            "message": _sound(_text(error)[:_LEAST_CHARACTERS]),
            "traceback": _sound(logging.Formatter().formatException(record.exc_info)[-_MOST_CHARACTERS:]),
        }
    elif record.exc_text:
        found["exception"] = {"traceback": _sound(record.exc_text[-_MOST_CHARACTERS:])}
    if record.stack_info:
        found["stack"] = record.stack_info[-_MOST_CHARACTERS:]
    return found


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    """Every value by itself: as it is where that works, else as text."""
    metadata = {_sound(name): _value(value) for name, value in event["metadata"].items()}
    return {name: _sound(value) if isinstance(value, str) else value for name, value in event.items()} | {
        "metadata": metadata
    }


def _value(value: object) -> object:
    try:
        return msgspec.Raw(_ENCODER.encode(value))
    except Exception:  # noqa: BLE001 (as above)
        return _sound(_text(value))


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 (as above)
        return f"<{type(value).__qualname__}>"


def _sound(text: str) -> str:
    """Half a surrogate pair is no character that JSON in UTF-8 can hold."""
    return text.encode(errors="backslashreplace").decode()


_ENCODER = msgspec.json.Encoder(enc_hook=_text)
