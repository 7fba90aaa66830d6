"""Find a field of an event that looks like a missing one, so that the error can name the parameter that maps it.

In: the raw fields of an event, and the name of the missing field. Out: a name as `?timestamp_field=` takes it, or None.
Errors: none. Next: parsec.ingest.normalize.
"""

import re
from collections.abc import Iterator
from itertools import islice
from urllib.parse import quote

import msgspec

from parsec.ingest.body.fast_path import UNREADABLE, Fields
from parsec.ingest.field_mapping import MAX_NAME_CHARS, PARAMETERS

_KNOWN = {
    "timestamp": "ts time timestampms timestampns timestampus timeunixnano date datetime eventtime eventdate "
    "eventtimestamp logtime logtimestamp requestreceivedtimestamp asctime timemillis timegenerated timecreated "
    "eventcreated created createdat createdon occurredat loggedat when at t epoch starttime sourcerealtimetimestamp "
    "realtimetimestamp observedtimeunixnano utctime",
    "severity": "level lvl loglevel logseverity severitytext severitynumber levelname levelno levelvalue severitylevel "
    "priority prio l logdataseverity eventlevel syslogseverity",
    "source": "service servicename app application appname applicationname program programname component logger "
    "loggername syslogidentifier container containername kubernetescontainername kubernetespodname systemdunit unit "
    "eventsource host hostname hostcomputer origin name module process tag stream",
    "message": "msg log text body shortmessage fullmessage line content logmessage eventmessage m mt raw logline "
    "logevent event description",
    "tenant_id": "tenant tenantname org orgid organization organizationid customer customerid account accountid "
    "workspace team project projectid namespace",
}
LOOK_ALIKES = {field: {name: rank for rank, name in enumerate(names.split(), 1)} for field, names in _KNOWN.items()}
"""Names in lower case without punctuation; the first found wins."""

_WRAPPERS = frozenset({"metadata", "data", "record", "event", "fields", "attributes", "payload", "log"})
_MESSAGES = frozenset({"message", "msg", "log", "text", "body", "shortmessage", "logmessage", "line"})

_MAX_FIELDS = 1000
_PUNCTUATION = re.compile(r"[\W_]+")
_FIELDS = msgspec.json.Decoder(Fields)


def look_alike(fields: Fields, field: str) -> str | None:
    """A field with a common name for `field`, at the top level or else one level down. Its value is a number or a text
    that is not empty."""
    ranks = LOOK_ALIKES.get(field, {}) | {field.replace("_", ""): 0}
    found = [(ranks[name], path) for path, name in _names(fields) if name in ranks and path != field]
    return min(found, key=lambda one: (one[1].count("."), one[0]), default=(0, None))[1]


def advice(fields: Fields, field: str) -> str:
    """The sentence for an error's message; empty without such a field."""
    name = look_alike(fields, field)
    parameter = next((parameter for parameter, of in PARAMETERS.items() if of == field), None)
    if name is None or parameter is None:
        return ""
    return f" The event has a field {name!r}: add ?{parameter}={quote(name, safe='@.')} to the URL, or rename it."


def has_other_message(fields: Fields) -> bool:
    """Whether there is no `message`, but another field at the top level is one by its name. The URL should map it."""
    return "message" not in fields and any(
        _plain(name) in _MESSAGES and bytes(raw).startswith(b'"') and bytes(raw) != b'""'
        for name, raw in islice(fields.items(), _MAX_FIELDS)
    )


def _names(fields: Fields) -> Iterator[tuple[str, str]]:
    """The path of each field that has a plain value, and its name to compare by."""
    for name, raw in islice(fields.items(), _MAX_FIELDS):
        text = bytes(raw)
        if text.startswith(b"{") and len(text) <= 1 << 14:
            try:
                inner = _FIELDS.decode(raw)
            except UNREADABLE:
                continue
            for key, value in islice(inner.items(), _MAX_FIELDS):
                if "." not in key and _is_plain(name, bytes(value)) and _is_plain(key, bytes(value)):
                    yield f"{name}.{key}", _plain(key if name in _WRAPPERS else name + key)
        elif _is_plain(name, text):
            yield name, _plain(name)


def _is_plain(name: str, text: bytes) -> bool:
    return 0 < len(name) <= MAX_NAME_CHARS // 2 and "," not in name and text[:1] in b'"-0123456789' and text != b'""'


def _plain(name: str) -> str:
    return _PUNCTUATION.sub("", name).lower()
