"""Formats of loggers: Docker's json-file, the journal of systemd, pino and bunyan, GELF.

In: the fields of one entry. Out: an event. Next: parsec.api.formats.detect.

docker: `log` is the message, `time` the timestamp; the level is read from the beginning of `log`; the source is the
compose service, tag or name in `attrs`, if there is one.

journald (`journalctl -o json`): MESSAGE is the message (a list of bytes is decoded, several values are lines), PRIORITY
the severity, `_SOURCE_REALTIME_TIMESTAMP` or `__REALTIME_TIMESTAMP` the timestamp, `__CURSOR` the id, and the
container, identifier, unit or command the source.

pino, bunyan (Node.js): `msg` is the message, `time` the timestamp, `level` the severity (10 trace to 60 fatal, others
by the level they reach), `name` the source. A level between these six also stays in the metadata.

gelf (Graylog, 1.0 and 1.1): `short_message` is the message, `timestamp` the timestamp, `level` the severity (syslog's
digits), and the service, application or container among the additional fields, else `host`, the source. Additional
fields lose their underscore unless the name is taken.
"""

import msgspec

from parsec.api.formats.fields import Event, Fields, event_of, fields_of, list_of, take, take_text, text_of, value_of
from parsec.core.line_head import level_of
from parsec.core.severity import at_least

_PINO_LEVELS = (10, 20, 30, 40, 50, 60)
_GELF_SOURCES = ("_service", "_service_name", "_application", "_application_name", "_app", "_container_name", "host")


def docker(fields: Fields) -> Event:
    log = take_text(fields, "log") or ""
    attributes = fields_of(fields.get("attrs")) or {}
    source = text_of(attributes, "com.docker.compose.service", "tag", "name")
    timestamp = take(fields, "time")
    return event_of(fields, message=log, timestamp=timestamp, severity=level_of(log), source=source)


def journald(fields: Fields) -> Event:
    message = _journal_text(fields.pop("MESSAGE", None))
    cursor = text_of(fields, "__CURSOR")
    source = text_of(fields, "CONTAINER_NAME", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT", "_COMM")
    timestamp = take(fields, "_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP")
    severity = take(fields, "PRIORITY")
    return event_of(fields, message=message, timestamp=timestamp, severity=severity, source=source, name=cursor)


def _journal_text(raw: msgspec.Raw | None) -> str:
    """A text; a list of bytes, if it is not UTF-8 or has control characters; or a list of several values."""
    value = value_of(raw)
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return "" if value is None else bytes(raw or b"").decode()
    if all(type(each) is int and 0 <= each <= 255 for each in value):
        return bytes(value).decode(errors="backslashreplace")
    return "\n".join(_journal_text(each) for each in list_of(raw))


def pino(fields: Fields) -> Event:
    level = value_of(fields.get("level"))
    severity: object = None
    if isinstance(level, str) and level:
        severity = take(fields, "level")
    elif isinstance(level, int | float) and not isinstance(level, bool):
        severity = at_least(int(level), "pino") if abs(level) < 1 << 31 else None
        if level in _PINO_LEVELS:
            del fields["level"]
    message = take_text(fields, "msg", "message") or ""
    source = text_of(fields, "name")
    return event_of(fields, message=message, timestamp=take(fields, "time"), severity=severity, source=source)


def gelf(fields: Fields) -> Event:
    message = take_text(fields, "short_message") or ""
    timestamp, level = take(fields, "timestamp"), take(fields, "level")
    source = text_of(fields, *_GELF_SOURCES)
    fields.pop("version", None)
    plain = {}
    for name, value in fields.items():
        bare = name.removeprefix("_")
        plain[bare if bare and (bare == name or bare not in fields) and bare not in plain else name] = value
    return event_of(plain, message=message, timestamp=timestamp, severity=level, source=source)
