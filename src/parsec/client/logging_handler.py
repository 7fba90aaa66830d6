"""A handler for the logging module: sends records to a Parsec in the background.

In: log records of any thread. Out: events, in a queue that a thread sends. Errors: none into the program; records that
cannot become an event go to `handleError`, events that cannot be sent are counted in `counts` and reported once on
standard error. Next: parsec.client.send_queue.

    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().addHandler(ParsecHandler("http://127.0.0.1:8080", tenant="acme", source="billing"))

It flushes at exit (the logging module calls `close`), for at most `timeout_s`.

`RecordEncoder` makes an event of a record that the server accepts by parsec.api.event_rules, whatever `extra` holds.
"""

import itertools
import logging
import os
import sys
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from parsec.api import event_rules
from parsec.api.event_rules import MAX_METADATA_DEPTH, MAX_METADATA_KEYS
from parsec.client.client import Client
from parsec.client.retries import RetryPolicy
from parsec.client.send_queue import SendCounts, SendQueue
from parsec.core.clock import Clock, SystemClock

MAX_BYTES = 200 << 10
"""A Parsec takes 256 KiB by default, its own fields included."""
_CUT_CHARS = (128 << 10, 32 << 10, 8 << 10, 1 << 10)
"""Kept of each text in an event that is too large: the first length with which it fits."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SEVERITIES = ((50, "fatal"), (40, "error"), (30, "warn"), (20, "info"), (10, "debug"))
_EMPTY = "(empty)"


def severity(level: int) -> str:
    """The highest severity that a level of the logging module reaches."""
    return next((name for least, name in _SEVERITIES if level >= least), "trace")


class RecordEncoder:
    """For one tenant (None: the key's) and source (None: the logger's name)."""

    def __init__(self, tenant: str | None, source: str | None, clock: Clock | None = None) -> None:
        """Raises ValueError when no tenant can have this name."""
        self._tenant = None if tenant is None else event_rules.tenant_name(tenant)
        if tenant is not None and self._tenant is None:
            raise ValueError(f"tenant {tenant!r} is not valid; {event_rules.TENANT_RULE}")
        self._source = source
        self._clock = clock or SystemClock()
        self.restart_ids()

    def restart_ids(self) -> None:
        """No two processes share ids, not even after a fork."""
        self._prefix = os.urandom(8).hex()
        self._numbers = itertools.count(1)

    def encode(self, record: logging.LogRecord, message: str) -> bytes:
        """The event of a record with this formatted message."""
        own = _standard_fields(record)
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        metadata = own | {f"_{name}" if name in own else name: value for name, value in extra.items()}
        event = encoded = self._encode(record, message, metadata)
        if len(event) <= MAX_BYTES:
            return event
        whole = _metadata(metadata)
        for kept in _CUT_CHARS:
            more = {} if kept == _CUT_CHARS[-1] else {name: _start(value, kept) for name, value in whole.items()}
            shortened = {name: _shorten(value, kept) for name, value in own.items()}
            event = self._encode(record, message[:kept], more | shortened | {"cut": f"{len(encoded)} bytes"})
            if len(event) <= MAX_BYTES:
                break
        return event

    def _encode(self, record: logging.LogRecord, message: str, metadata: dict[Any, Any]) -> bytes:
        now = self._clock.time_ns() / 1e9
        created = record.created
        if not 0 <= created <= now + event_rules.MAX_AHEAD_S:
            metadata, created = metadata | {"created": record.created}, now
        event: dict[str, Any] = {
            "id": f"{self._prefix}-{next(self._numbers)}", "timestamp": datetime.fromtimestamp(created, UTC),
            "severity": severity(record.levelno or 0), "source": _SOURCES[self._source or record.name or "root"],
            "message": message if message.strip() else _EMPTY, "metadata": metadata,
        }  # fmt: skip
        if self._tenant is not None:
            event["tenant_id"] = self._tenant
        if len(metadata) <= MAX_METADATA_KEYS:
            encoded = _encode(event, MAX_METADATA_DEPTH + 1)
            if encoded is not None:
                return encoded
        return _ENCODER.encode(event | {"message": _encodable(event["message"]), "metadata": _metadata(metadata)})


def _source(name: str) -> str:
    return _encodable(name).strip().lower()[: event_rules.MAX_SOURCE_CHARS] or "root"


_SOURCES = event_rules.Cache(_source)


def _standard_fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the logging module itself knows about a record."""
    found: dict[str, Any] = {
        "logger": record.name, "file": f"{record.pathname}:{record.lineno}", "function": record.funcName,
        "process": record.process, "thread": record.threadName,
    }  # fmt: skip
    task = getattr(record, "taskName", None)
    if task is not None:
        found["task"] = task
    if record.exc_info and record.exc_info[0] is not None:
        kind, error, _ = record.exc_info
        found["exception"] = {
            "type": kind.__qualname__,
            "message": _encodable(_text(error)),
            "traceback": _encodable(logging.Formatter().formatException(record.exc_info)),
        }
    elif record.exc_text:
        found["exception"] = {"traceback": _encodable(record.exc_text)}
    if record.stack_info:
        found["stack"] = record.stack_info
    return found


def _metadata(values: Mapping[Any, Any]) -> dict[str, msgspec.Raw | str]:
    """Each value by itself: as it is where that works, else as text."""
    if len(values) > MAX_METADATA_KEYS:
        kept = dict(itertools.islice(values.items(), MAX_METADATA_KEYS - 1))
        values = kept | {"cut": f"{len(values) - len(kept)} fields"}
    found: dict[str, msgspec.Raw | str] = {}
    for name, value in values.items():
        encoded = _encode(value, MAX_METADATA_DEPTH - 1)
        found[_encodable(_text(name))] = _encodable(_text(value)) if encoded is None else msgspec.Raw(encoded)
    return found


def _encode(value: object, depth: int) -> bytes | None:
    """None: JSON cannot hold the value, or it nests deeper."""
    try:
        encoded = _ENCODER.encode(value)
    except Exception:  # noqa: BLE001 (values are anyone's, and so are their errors)
        return None
    return None if event_rules.nests_deeper(encoded, depth) else encoded


def _start(value: msgspec.Raw | str, kept: int) -> msgspec.Raw | str:
    """The value, or as much of its text as may be kept."""
    text = value if isinstance(value, str) else bytes(value).decode()
    if isinstance(value, msgspec.Raw) and text.startswith('"'):
        text = msgspec.json.decode(text)
    return value if len(text) <= kept else text[:kept]


def _shorten(value: object, kept: int) -> object:
    if isinstance(value, dict):
        return {name: _shorten(inner, kept) for name, inner in value.items()}
    return value if value is None or isinstance(value, int) else _text(value)[-kept:]


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 (as above)
        return f"<{type(value).__qualname__}>"


def _encodable(text: str) -> str:
    """JSON in UTF-8 cannot hold half a surrogate pair: it becomes an escape."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


_ENCODER = msgspec.json.Encoder(enc_hook=_text)


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
            message = self.format(record) if self.formatter else record.getMessage()
            self._queue.put(self._encoder.encode(record, message))
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
