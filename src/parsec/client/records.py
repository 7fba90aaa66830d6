"""Records of the logging module to events.

In: a LogRecord. Out: one event as JSON on one line, at most MOST_BYTES, with an id of its own, so that it is stored
once, however often it is sent. Errors: none; what JSON cannot say becomes its text, what is too long is cut.
"""

import itertools
import logging
import os
from typing import Any

import msgspec

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
