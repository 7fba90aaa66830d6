"""Detect the format of an object by its shape, and convert it to events.

In: the bytes of one JSON value, and the name of a format, or "auto". Out: events, or None for a value that is sent
unchanged. Errors: Rejected(wrong_format) for an object of another format than the named one, or without logs. Next:
parsec.ingest.body.decode.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from parsec.api.formats.audit import cloudtrail, kubernetes
from parsec.api.formats.fields import Event, Fields, fields_of, list_of, text_of, value_of
from parsec.api.formats.loggers import docker, gelf, journald, pino
from parsec.api.formats.otlp import otlp
from parsec.core.errors import Rejected

AUTO, PLAIN = "auto", "ndjson"


class Format(NamedTuple):
    """`matches`: whether an object has this shape. `needs`: an object of this format has at least one of these fields.
    `events`: converts one object. `items`: a field that may hold a list of such objects."""

    matches: Callable[[Fields], bool]
    needs: tuple[str, ...]
    events: Callable[[Fields], Iterable[Event]]
    items: str = ""


def _one(convert: Callable[[Fields], Event]) -> Callable[[Fields], Iterable[Event]]:
    return lambda fields: (convert(fields),)


def _has(*names: str) -> Callable[[Fields], bool]:
    return lambda fields: all(name in fields for name in names)


def _is_docker(fields: Fields) -> bool:
    return {"log", "stream", "time"} <= fields.keys() <= {"log", "stream", "time", "attrs"}


def _is_journald(fields: Fields) -> bool:
    return "__REALTIME_TIMESTAMP" in fields and ("MESSAGE" in fields or "__CURSOR" in fields)


def _is_pino(fields: Fields) -> bool:
    level, time = value_of(fields.get("level")), fields.get("time", msgspec.Raw(b"null"))
    if not isinstance(level, int) or isinstance(level, bool) or bytes(time)[:1] not in b'"0123456789':
        return False
    return "msg" in fields or {"pid", "hostname"} <= fields.keys()


def _is_kubernetes(fields: Fields) -> bool:
    return text_of(fields, "apiVersion").startswith("audit.k8s.io/") and text_of(fields, "kind") in (
        "Event",
        "EventList",
    )


def _is_gelf(fields: Fields) -> bool:
    return text_of(fields, "version") in ("1.0", "1.1") and {"host", "short_message"} <= fields.keys()


def _is_cloudtrail(fields: Fields) -> bool:
    if {"eventVersion", "eventTime", "eventSource", "eventName"} <= fields.keys():
        return True
    first = next(iter(list_of(fields.get("Records"))), None)
    return first is not None and _is_cloudtrail(fields_of(first) or {})


FORMATS: dict[str, Format] = {
    "docker": Format(_is_docker, ("log",), _one(docker)),
    "journald": Format(_is_journald, ("MESSAGE", "__REALTIME_TIMESTAMP", "__CURSOR"), _one(journald)),
    "pino": Format(_is_pino, ("msg", "level"), _one(pino)),
    "bunyan": Format(_is_pino, ("msg", "level"), _one(pino)),
    "cloudtrail": Format(_is_cloudtrail, ("eventName", "Records"), _one(cloudtrail), "Records"),
    "k8s-audit": Format(_is_kubernetes, ("auditID", "items"), _one(kubernetes), "items"),
    "otlp": Format(_has("resourceLogs"), ("resourceLogs",), otlp),
    "gelf": Format(_is_gelf, ("short_message",), _one(gelf)),
}
"""By the names of `parsec send --format`, the narrowest shape first."""

_TELLING = frozenset(
    {"log", "__REALTIME_TIMESTAMP", "level", "eventVersion", "Records", "apiVersion", "resourceLogs", "short_message"}
    | {"resourceSpans", "resourceMetrics"}
)
"""An object without any of these fields has none of the shapes."""
_NO_LOGS = {"resourceSpans": "traces", "resourceMetrics": "metrics"}
_OWN = frozenset({"timestamp", "severity", "message"})
"""An object with all of these is an event already, whatever other fields it has."""


def events_of(data: bytes, name: str) -> Iterator[Event] | None:
    """The events of one JSON value. None: send it unchanged."""
    fields = None if name == PLAIN else _fields_of_text(data)
    if fields is None:
        return None  # the server says what is wrong with a value that is not an object in UTF-8
    if name == AUTO and _is_own(fields):
        return None
    for field, what in _NO_LOGS.items():
        if field in fields and "resourceLogs" not in fields:
            raise Rejected("wrong_format", f"this is an OTLP export of {what}; only logs can be sent")
    found = _format_of(fields, name)
    return None if found is None else _events(found, fields)


def is_known(data: bytes) -> bool:
    """Whether this is an object of one of the shapes."""
    fields = _fields_of_text(data)
    return fields is not None and not _is_own(fields) and _format_of(fields, AUTO) is not None


def _fields_of_text(data: bytes) -> Fields | None:
    """None for bytes that are not UTF-8, which the decoder does not check."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return None
    return fields_of(data)


def _is_own(fields: Fields) -> bool:
    return _TELLING.isdisjoint(fields) or fields.keys() >= _OWN


def _format_of(fields: Fields, name: str) -> Format | None:
    if name == AUTO:
        return next((each for each in FORMATS.values() if each.matches(fields)), None)
    named = FORMATS[name]
    if not any(field in fields for field in named.needs):
        message = f"the object has no {' or '.join(named.needs)}, so it is not of the format {name}; try --format auto"
        raise Rejected("wrong_format", message)
    return named


def _events(found: Format, fields: Fields) -> Iterator[Event]:
    items = list_of(fields.get(found.items)) if found.items else []
    if not items:
        yield from found.events(fields)
    for item in items:
        inner = fields_of(item)
        yield from found.events(inner) if inner is not None else ({"message": "", "metadata": {"item": item}},)
