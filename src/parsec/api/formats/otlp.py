"""OTLP logs as JSON: a request for export, as the collector's file exporter writes it, one a line.

In: the fields of an ExportLogsServiceRequest. Out: an event for each log record. Next: parsec.api.formats.detect.

The body is the message (as JSON, and in `metadata.body`, unless it is a text), `timeUnixNano` or `observedTimeUnixNano`
the timestamp, `severityNumber` or `severityText` the severity, and `service.name`, the container or the host of the
resource the source. `metadata` has `attributes`, `resource` and `scope` as plain objects, and every other field of the
record under its own name.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from parsec.api.event_rules import MAX_METADATA_DEPTH
from parsec.api.formats.fields import Event, Fields, event_of, fields_of, list_of, text_of, value_of
from parsec.core.severity import at_least

_SOURCES = ("service.name", "k8s.container.name", "container.name", "k8s.pod.name", "host.name")
_NUMBER_NAMES = {"TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}
_MAX_NUMBER = 24
_SCALARS = ("stringValue", "boolValue", "intValue", "doubleValue", "bytesValue")


def otlp(fields: Fields) -> Iterator[Event]:
    for resource_logs in map(_object, list_of(fields.get("resourceLogs"))):
        resource = _plain_object(resource_logs.get("resource"))
        scopes = list_of(resource_logs.get("scopeLogs")) or list_of(resource_logs.get("instrumentationLibraryLogs"))
        for scope_logs in map(_object, scopes):
            scope = _plain_object(scope_logs.get("scope") or scope_logs.get("instrumentationLibrary"))
            around: dict[str, Any] = {"resource": resource, "scope": scope}
            for name, holder in (("resource_schema_url", resource_logs), ("scope_schema_url", scope_logs)):
                if text := text_of(holder, "schemaUrl"):
                    around[name] = text
            for record in map(_object, list_of(scope_logs.get("logRecords"))):
                yield _record(record, {name: value for name, value in around.items() if value})


def _record(record: Fields, around: dict[str, Any]) -> Event:
    body = _any_value(record.pop("body", None), 2)
    metadata: dict[str, Any] = {"attributes": _attributes(record.pop("attributes", None), 2), **around}
    if not isinstance(body, str) and body is not None:
        metadata["body"] = body
    message = body if isinstance(body, str) else "" if body is None else msgspec.json.encode(body).decode()
    resource = around.get("resource", {})
    source = next((resource[name] for name in _SOURCES if isinstance(resource.get(name), str) and resource[name]), "")
    severity, timestamp = _severity(record), _timestamp(record)
    metadata = {name: value for name, value in metadata.items() if value or name == "body"}
    for name, value in record.items():
        metadata[name if name not in metadata else f"_{name}"] = value
    return event_of(metadata, message=message, timestamp=timestamp, severity=severity, source=source)


def _timestamp(record: Fields) -> object:
    """Zero means unknown."""
    for name in ("timeUnixNano", "observedTimeUnixNano"):
        value = value_of(record.get(name))
        if isinstance(value, str | int) and str(value).strip("0 ") and not isinstance(value, bool):
            return record.pop(name)
    return None


def _severity(record: Fields) -> str:
    number = value_of(record.get("severityNumber"))
    if isinstance(number, str):
        name = number.removeprefix("SEVERITY_NUMBER_")
        number = int(name) if name.isdecimal() and len(name) < 4 else _NUMBER_NAMES.get(name.rstrip("234"), 0)
    if isinstance(number, int) and not isinstance(number, bool) and 0 < number <= _MAX_NUMBER:
        return at_least(number, "otel")
    return text_of(record, "severityText")


def _object(raw: msgspec.Raw | None) -> Fields:
    return fields_of(raw) or {}


def _plain_object(raw: msgspec.Raw | None) -> dict[str, Any]:
    """A resource or a scope: its attributes, and its other fields where their names are free."""
    fields = _object(raw)
    found = _attributes(fields.pop("attributes", None), 2)
    return found | {name if name not in found else f"_{name}": value for name, value in fields.items()}


def _attributes(raw: msgspec.Raw | None, depth: int) -> dict[str, Any]:
    """A list of keys and values as an object; the last value of a key counts."""
    pairs = map(_object, list_of(raw))
    return {str(value_of(pair.get("key")) or ""): _any_value(pair.get("value"), depth + 1) for pair in pairs}


def _any_value(raw: msgspec.Raw | None, depth: int) -> Any:
    """Of an AnyValue, which names its own type. What nests too deep, or has no known type, stays as it is."""
    fields = _object(raw)
    for name in _SCALARS:
        if name in fields:
            value = value_of(fields[name])
            is_number = name == "intValue" and isinstance(value, str) and value.removeprefix("-").isdecimal()
            return msgspec.Raw(value.encode()) if is_number and _is_json_number(value) else value
    if raw is None or not fields:
        return None
    inner = fields.get("arrayValue", fields.get("kvlistValue"))
    if inner is None:
        return raw
    if depth >= MAX_METADATA_DEPTH:
        return bytes(inner).decode(errors="backslashreplace")
    values = _object(inner).get("values")
    if "arrayValue" in fields:
        return [_any_value(each, depth + 1) for each in list_of(values)]
    return _attributes(values, depth + 1)


def _is_json_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and (digits == "0" or not digits.startswith("0"))
