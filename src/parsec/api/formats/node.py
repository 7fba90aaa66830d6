"""pino and bunyan, loggers of Node.js with the same fields.

In: the fields of one entry. Out: an event. Next: parsec.api.formats.detect.

`msg` is the message, `time` the timestamp, `level` the severity (10 trace to 60 fatal, others by the level they reach),
`name` the source. Any other level also stays in the metadata.
"""

from parsec.api.formats.fields import Event, Fields, event_of, take, take_text, text_of, value_of
from parsec.core.severity import at_least

_LEVELS = (10, 20, 30, 40, 50, 60)


def pino(fields: Fields) -> Event:
    level = value_of(fields.get("level"))
    severity: object = None
    if isinstance(level, str) and level:
        severity = take(fields, "level")
    elif isinstance(level, int | float) and not isinstance(level, bool):
        severity = at_least(int(level), "pino") if abs(level) < 1 << 31 else None
        if level in _LEVELS:
            del fields["level"]
    message = take_text(fields, "msg", "message") or ""
    source = text_of(fields, "name")
    return event_of(fields, message=message, timestamp=take(fields, "time"), severity=severity, source=source)
