"""Audit records: AWS CloudTrail and Kubernetes.

In: the fields of one record. Out: an event. Next: parsec.api.formats.detect.

Neither has a message, so it is composed of other fields, which stay in the metadata.
cloudtrail: `eventTime` is the timestamp, `eventID` the id, `eventSource` the source; `error` with an `errorCode`.
kubernetes: `stageTimestamp` or `requestReceivedTimestamp` is the timestamp, `auditID/stage` the id; `error` from status
500 on and for a panic, `warn` from 400 on. Its `level` is a level of detail, not a severity.
"""

from parsec.api.formats.fields import Event, Fields, event_of, fields_of, take, text_of, value_of

KUBERNETES_SOURCE = "kubernetes-audit"
_CLIENT_ERROR, _SERVER_ERROR = 400, 500


def cloudtrail(fields: Fields) -> Event:
    source = text_of(fields, "eventSource")
    error = ": ".join(filter(None, (text_of(fields, "errorCode"), text_of(fields, "errorMessage"))))
    said = " ".join(filter(None, (source, text_of(fields, "eventName"), error)))
    severity = "error" if error else "info"
    timestamp, name = take(fields, "eventTime"), text_of(fields, "eventID")
    return event_of(fields, message=said, timestamp=timestamp, severity=severity, source=source, name=name)


def kubernetes(fields: Fields) -> Event:
    status = value_of((fields_of(fields.get("responseStatus")) or {}).get("code"))
    code = status if type(status) is int else 0
    stage = text_of(fields, "stage")
    severity = "warn" if _CLIENT_ERROR <= code < _SERVER_ERROR else "info"
    severity = "error" if code >= _SERVER_ERROR or stage == "Panic" else severity
    user = text_of(fields_of(fields.get("user")) or {}, "username")
    parts = (user, text_of(fields, "verb"), text_of(fields, "requestURI"), str(code or ""), stage)
    audit = text_of(fields, "auditID")
    name = f"{audit}/{stage}" if audit and stage else audit
    timestamp = take(fields, "stageTimestamp", "requestReceivedTimestamp")
    said = " ".join(filter(None, parts))
    return event_of(fields, message=said, timestamp=timestamp, severity=severity, source=KUBERNETES_SOURCE, name=name)
