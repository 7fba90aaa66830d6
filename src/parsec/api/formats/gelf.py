"""GELF 1.0 and 1.1, Graylog's format.

In: the fields of one message. Out: an event. Next: parsec.api.formats.detect.

`short_message` is the message, `timestamp` the timestamp, `level` the severity (syslog's digits), and the service,
application or container among the additional fields, else `host`, the source. Additional fields lose their underscore
unless the name is taken.
"""

from parsec.api.formats.fields import Event, Fields, event_of, take, take_text, text_of

_SOURCES = ("_service", "_service_name", "_application", "_application_name", "_app", "_container_name", "host")


def gelf(fields: Fields) -> Event:
    message = take_text(fields, "short_message") or ""
    timestamp, level = take(fields, "timestamp"), take(fields, "level")
    source = text_of(fields, *_SOURCES)
    fields.pop("version", None)
    plain = {}
    for name, value in fields.items():
        bare = name.removeprefix("_")
        plain[bare if bare and (bare == name or bare not in fields) and bare not in plain else name] = value
    return event_of(plain, message=message, timestamp=timestamp, severity=level, source=source)
