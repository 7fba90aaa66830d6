"""Records of the logging module to events, of which a Parsec accepts every one.

In: a record with anything in it, and its formatted message. Out: the event as one line of JSON. Errors: ValueError for
a tenant that no event can have. Next: parsec.client.send_queue.

The limits are those of parsec.api.event_rules. Values that JSON cannot hold, or that nest too deep, become their text;
a time that no event can have becomes the present; fields beyond the limits are cut, and `metadata.cut` says how much.
"""

import itertools
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from parsec.api import event_rules
from parsec.api.event_rules import MAX_METADATA_DEPTH, MAX_METADATA_KEYS
from parsec.core.clock import Clock, SystemClock

MAX_BYTES = 200 << 10
"""A Parsec takes 256 KiB by default, its own fields included."""
_MAX_CHARS = 64 << 10
_CUT_CHARS = (8 << 10, 1 << 10)
"""Kept of each text in an event that is too large; the second when it still is, as escapes take up to 6 bytes."""
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
            rule = "use 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit"
            raise ValueError(f"tenant {tenant!r} is not valid; {rule}")
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
        event = encoded = self._encode(record, message[:_MAX_CHARS], metadata)
        for kept in _CUT_CHARS:
            if len(event) <= MAX_BYTES:
                break
            shortened = {name: _shorten(value, kept) for name, value in own.items()}
            event = self._encode(record, message[:kept], shortened | {"cut": f"{len(encoded)} bytes"})
        return event

    def _encode(self, record: logging.LogRecord, message: str, metadata: dict[Any, Any]) -> bytes:
        now = self._clock.time_ns() / 1e9
        created = record.created
        if not 0 <= created <= now + event_rules.MAX_AHEAD_S:
            metadata, created = metadata | {"created": record.created}, now
        event: dict[str, Any] = {
            "id": f"{self._prefix}-{next(self._numbers)}",
            "timestamp": datetime.fromtimestamp(created, UTC),
            "severity": severity(record.levelno or 0),
            "source": _SOURCES[self._source or record.name or "root"],
            "message": message if message.strip() else _EMPTY,
            "metadata": metadata,
        }
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
            "message": _encodable(_text(error)[: _CUT_CHARS[0]]),
            "traceback": _encodable(logging.Formatter().formatException(record.exc_info)[-_MAX_CHARS:]),
        }
    elif record.exc_text:
        found["exception"] = {"traceback": _encodable(record.exc_text[-_MAX_CHARS:])}
    if record.stack_info:
        found["stack"] = record.stack_info[-_MAX_CHARS:]
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
