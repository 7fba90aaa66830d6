"""Makes an event of a record of the logging module that the server accepts, whatever the record holds.

In: a record and its message. Out: one event as JSON, at most MAX_BYTES. Errors: none. The message is always kept.
Values beyond the limits of parsec.api.event_rules are cut, and `metadata.cut` lists the cuts. Next:
parsec.client.send_queue.
"""

import itertools
import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from parsec.api import event_rules
from parsec.api.event_rules import MAX_METADATA_KEYS
from parsec.client.json_values import (
    MAX_TEXT_CHARS,
    NOTED_NAME_CHARS,
    JsonValues,
    add_note,
    free_name,
    is_plain,
    text_of,
)
from parsec.core.clock import Clock, SystemClock
from parsec.core.severity import at_least

MAX_BYTES = 200 << 10
"""A Parsec takes 256 KiB by default, its own fields included."""
_CUT_CHARS = (128 << 10, 32 << 10, 8 << 10, 1 << 10)
"""Kept of each text in an event that is too large: the first length with which it fits."""
_CUT_NAME_CHARS = 256
_CUT = "cut"
_NOTES_BYTES = 8 << 10
"""Room for `cut` itself."""
_RESERVED = frozenset({"logger", "file", "function", "process", "thread", _CUT})
_UNCOMMON = ("exc_info", "exc_text", "stack_info", "taskName")
_OPTIONAL = ("task", "exception", "stack")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_ENCODER = msgspec.json.Encoder()


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

    def encode(self, record: logging.LogRecord, message: str, failure: Exception | None = None) -> bytes:
        """The event of a record with this message; `failure`: why the message could not be formatted."""
        head = self._head(record)
        if failure is None:
            event = _plain_event(head, message, record)
            if event is not None and len(event) <= MAX_BYTES:
                return event
        values = JsonValues()
        values.field = "message"
        text = values.text(message)
        own = _own_fields(record, values, failure)
        if "created" in head:
            own["created"] = values.convert(head.pop("created"), 2)
        extra = _extra_fields(record, own, values)
        event = _encoded(head, text, own, extra, values.notes)
        return event if len(event) <= MAX_BYTES else _cut_event(head, text, own, extra, values)

    def _head(self, record: logging.LogRecord) -> dict[str, Any]:
        """The fields that are never cut. `created`: the record's time, if it is not valid in an event."""
        now = self._clock.time_ns() / 1e9
        created: Any = getattr(record, "created", None)
        level: Any = getattr(record, "levelno", None)
        exact = float.__float__(created) if _is(created, float) else created if type(created) is int else -1
        possible = 0 <= exact <= now + event_rules.MAX_AHEAD_S
        head: dict[str, Any] = {
            "id": f"{self._prefix}-{next(self._numbers)}",
            "timestamp": datetime.fromtimestamp(exact if possible else now, UTC),
            "severity": at_least(int.__int__(level), "python") if _is(level, int) else "info",
            "source": _SOURCES[self._source or text_of(getattr(record, "name", "root"))],
        }
        if self._tenant is not None:
            head["tenant_id"] = self._tenant
        return head if possible else head | {"created": created}


def _source(name: str) -> str:
    return text_of(name).strip().lower()[: event_rules.MAX_SOURCE_CHARS] or "root"


_SOURCES = event_rules.Cache(_source)


def _plain_event(head: dict[str, Any], message: str, record: logging.LogRecord) -> bytes | None:
    """The fast path: the event of a common record, at a quarter of the cost; None for any other record."""
    facts = vars(record)
    if "created" in head or any(facts.get(name) is not None for name in _UNCOMMON):
        return None
    extra = {name: value for name, value in facts.items() if name not in _STANDARD}
    if extra and not (is_plain(extra) and extra.keys().isdisjoint(_RESERVED)):
        return None
    try:
        place = f"{record.pathname}:{record.lineno}"
        own = {
            "logger": facts.get("name"), "file": place, "function": facts.get("funcName"),
            "process": facts.get("process"), "thread": facts.get("threadName"),
        }  # fmt: skip
        return _encoded(head, message, own, extra, ()) if is_plain(own) and type(message) is str else None
    except Exception:  # noqa: BLE001 (half surrogate pairs, huge integers)
        return None


def _own_fields(record: logging.LogRecord, values: JsonValues, failure: Exception | None) -> dict[str, Any]:
    """The fields that the logging module itself sets."""
    facts = vars(record)
    found: dict[str, Any] = {
        "logger": facts.get("name"), "file": f"{text_of(facts.get('pathname'))}:{text_of(facts.get('lineno'))}",
        "function": facts.get("funcName"), "process": facts.get("process"), "thread": facts.get("threadName"),
        "task": facts.get("taskName"), "exception": _exception(values, facts.get("exc_info"), facts.get("exc_text")),
        "stack": _end_of(values, "stack", facts.get("stack_info")),
    }  # fmt: skip
    if failure is not None:
        found |= {"args": facts.get("args"), "format_error": f"{type(failure).__qualname__}: {text_of(failure)}"}
    own = {}
    for name, value in found.items():
        if value is not None or name not in _OPTIONAL:
            values.field = name
            own[name] = values.convert(value, 2)
    return own


def _exception(values: JsonValues, info: Any, text: Any) -> dict[str, Any] | None:
    """From the result of `sys.exc_info()`, or any other value in its place."""
    kind, error, trace = info if _is(info, tuple) and len(info) == 3 else (None, None, None)
    if _is(info, BaseException):
        kind, error, trace = type(info), info, info.__traceback__
    if kind is None and error is None:
        ready = _end_of(values, "exception.traceback", text)
        return None if ready is None else {"traceback": ready}
    try:
        text = logging.Formatter().formatException((kind, error, trace))
    except Exception as failure:  # noqa: BLE001 (frames and exceptions may raise anything)
        text = f"(it cannot be formatted: {type(failure).__qualname__})" if text is None else text
    whole = _end_of(values, "exception.traceback", text)
    name = kind.__qualname__ if type(kind) is type else kind
    return {"type": text_of(name), "message": text_of(error), "traceback": whole}


def _is(value: object, kind: type) -> bool:
    """`isinstance` by the type alone, because `__class__` of a value may lie."""
    return issubclass(type(value), kind)


def _end_of(values: JsonValues, field: str, value: object) -> str | None:
    """The end of a long text, which matters most in a traceback; None for an empty one."""
    text = "" if value is None else text_of(value)
    if len(text) > MAX_TEXT_CHARS:
        values.lengths[field] = len(text)
    return text[-MAX_TEXT_CHARS:] or None


def _extra_fields(record: logging.LogRecord, own: dict[str, Any], values: JsonValues) -> dict[str, Any]:
    """The fields of `extra` under free names, as many as an event may have."""
    found: dict[str, Any] = {}
    taken = dict.fromkeys((*own, _CUT))
    facts = [(key, value) for key, value in vars(record).items() if not (isinstance(key, str) and key in _STANDARD)]
    most = MAX_METADATA_KEYS - len(own)
    for key, value in facts[: most if len(facts) <= most else most - 1]:
        values.field = text_of(key)
        if values.exhausted():
            break
        name = free_name(values.name(key), taken)
        taken[name] = None
        found[name] = values.convert(value, 2)
    if values.notes and len(found) == most:
        found.popitem()  # room for the note
    _note_left_out(values.notes, [key for key, _ in facts[len(found) :]])
    return found


def _note_left_out(notes: list[str], keys: Sequence[object]) -> None:
    if keys:
        shown = ", ".join(text_of(key)[:NOTED_NAME_CHARS] for key in keys[:3]) + ", ..." * (len(keys) > 3)
        notes.insert(0, f"{len(keys)} field{'s' * (len(keys) > 1)} left out ({shown})")


def _cut_event(
    head: dict[str, Any], message: str, own: dict[str, Any], extra: dict[str, Any], values: JsonValues
) -> bytes:
    """The event with all texts cut to the first length with which it fits; at the last, with fewer fields."""
    for kept in _CUT_CHARS:
        cutter = _Cutter(kept, values)
        text = cutter.cut("message", message)
        short = {name: cutter.cut_own(name, value) for name, value in own.items()}
        more = {name: cutter.cut(name, value) for name, value in extra.items()}
        event = _encoded(head, text, short, more, cutter.notes)
        if len(event) <= MAX_BYTES and len(short) + len(more) < MAX_METADATA_KEYS:
            return event
    room = MAX_BYTES - _NOTES_BYTES - len(_encoded(head, text, short, {}, ()))
    fitting: dict[str, Any] = {}
    for name, value in more.items():
        shorter = free_name(name[:_CUT_NAME_CHARS], fitting)
        room -= len(_ENCODER.encode({shorter: value}))
        if room < 0 or len(short) + len(fitting) + 1 >= MAX_METADATA_KEYS:
            break
        fitting[shorter] = value
    _note_left_out(cutter.notes, list(more)[len(fitting) :])
    return _encoded(head, text, short, fitting, cutter.notes)


class _Cutter:
    """Cuts texts to `kept` characters, and notes the cuts."""

    def __init__(self, kept: int, values: JsonValues) -> None:
        self._kept = kept
        self._lengths = values.lengths
        self.notes = list(values.notes)

    def cut(self, name: str, value: Any) -> Any:
        """The value, or as much of its text as may be kept."""
        if value is None or isinstance(value, bool | int | float):
            return value
        text = value if isinstance(value, str) else _ENCODER.encode(value).decode()
        if len(text) <= self._kept:
            return value
        self._note(name, len(text))
        return text[: self._kept]

    def cut_own(self, name: str, value: Any) -> Any:
        """The same, but keeps the end, which matters most in paths and tracebacks."""
        if name == "exception" and isinstance(value, dict):
            return {each: self.cut_own(f"{name}.{each}", inner) for each, inner in value.items()}
        if isinstance(value, str) and len(value) > self._kept:
            self._note(name, len(value))
            return value[-self._kept :]
        return self.cut(name, value)

    def _note(self, name: str, length: int) -> None:
        add_note(self.notes, name, f"{self._kept} of {max(length, self._lengths.get(name, 0))} characters")


def _encoded(
    head: dict[str, Any], message: str, own: dict[str, Any], extra: dict[str, Any], notes: Sequence[str]
) -> bytes:
    cut = {_CUT: "; ".join(notes)} if notes else {}
    return _ENCODER.encode(head | {"message": message, "metadata": own | extra | cut})
