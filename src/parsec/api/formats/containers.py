"""Docker's json-file and the journal of systemd (`journalctl -o json`).

In: the fields of one entry. Out: an event. Next: parsec.api.formats.detect.

docker: `log` is the message, `time` the timestamp; the level is read from the beginning of `log`; the source is the
compose service, tag or name in `attrs`, where there is one.

journald: MESSAGE is the message (a list of bytes is decoded, several values are lines), PRIORITY the severity,
`_SOURCE_REALTIME_TIMESTAMP` or `__REALTIME_TIMESTAMP` the timestamp, `__CURSOR` the id, and the container, identifier,
unit or command the source.
"""

import msgspec

from parsec.api.formats.fields import Event, Fields, event_of, fields_of, list_of, take, take_text, text_of, value_of
from parsec.core.line_head import level_of


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
