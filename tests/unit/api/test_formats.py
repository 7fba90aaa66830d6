"""Lines of known loggers and services become our events; whatever has no place of ours is in the metadata."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.api.formats.detect import AUTO, FORMATS, PLAIN, events_of
from parsec.core.errors import Rejected
from tests.support.ingesting import NOW_NS, take

NOW = {"timestamp": NOW_NS, "severity": "info", "source": "file", "tenant_id": "acme"}


def read(value: object, name: str = AUTO) -> list[dict[str, Any]]:
    """As the client sends them; each is accepted by a server."""
    found = events_of(value if isinstance(value, bytes) else json.dumps(value).encode(), name)
    assert found is not None
    encoded = [msgspec.json.encode(event) for event in found]
    for data in encoded:
        taken = take(msgspec.json.encode(NOW | msgspec.json.decode(data, type=dict[str, msgspec.Raw])))
        assert taken.codes == [], data
        assert len(taken.envelopes) == 1
    return [json.loads(data) for data in encoded]


def one(value: object, name: str = AUTO) -> dict[str, Any]:
    (event,) = read(value, name)
    return event


DOCKER = {"log": "ERROR: declined\n", "stream": "stderr", "time": "2026-07-29T12:00:00.123456789Z"}
JOURNALD = {
    "__CURSOR": "s=739ad463348b4ceca5a9e69c95a3c93f;i=4ece7;b=6c7c6013a26343b29e964691ff25d04c;m=4fc;t=4c50;x=d3e5",
    "__REALTIME_TIMESTAMP": "1785326400123456",
    "__MONOTONIC_TIMESTAMP": "21415215982",
    "_SOURCE_REALTIME_TIMESTAMP": "1785326400123000",
    "PRIORITY": "3",
    "SYSLOG_IDENTIFIER": "sshd",
    "_SYSTEMD_UNIT": "ssh.service",
    "_HOSTNAME": "web01",
    "_PID": "4711",
    "MESSAGE": "error: PAM: no",
}
PINO = {
    "level": 40, "time": 1785326400123, "pid": 657, "hostname": "web01", "name": "Checkout", "reqId": 9007199254740993,
    "msg": "slow",
}  # fmt: skip
BUNYAN = {
    "name": "checkout", "hostname": "web01", "pid": 40161, "level": 50, "component": "db", "msg": "lost",
    "time": "2026-07-29T12:00:00.123Z", "v": 0,
}  # fmt: skip
CLOUDTRAIL = {
    "eventVersion": "1.08",
    "userIdentity": {"type": "IAMUser", "arn": "arn:aws:iam::123456789012:user/Alice", "userName": "Alice"},
    "eventTime": "2026-07-29T12:00:00Z",
    "eventSource": "s3.amazonaws.com",
    "eventName": "GetObject",
    "awsRegion": "eu-central-1",
    "sourceIPAddress": "203.0.113.7",
    "requestParameters": {"bucketName": "b", "Version": "2012-10-17"},
    "responseElements": None,
    "eventID": "3038ebd2-c98a-4c65-9b6e-e22506292313",
    "readOnly": True,
}
KUBERNETES = {
    "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
    "auditID": "79b5a7b0-9a4f-4d2a-8d2e-0a8b0c6f1e11", "stage": "ResponseComplete",
    "requestURI": "/api/v1/namespaces/shop/pods", "verb": "create",
    "user": {"username": "alice", "groups": ["dev"]}, "responseStatus": {"metadata": {}, "code": 201},
    "requestReceivedTimestamp": "2026-07-29T12:00:00.000000Z", "stageTimestamp": "2026-07-29T12:00:00.123456Z",
}  # fmt: skip
GELF = {
    "version": "1.1", "host": "web01", "short_message": "declined", "full_message": "declined\nat Pay.java:7",
    "timestamp": 1785326400.123, "level": 3, "_user_id": 9001, "_app": "Checkout",
}  # fmt: skip


def kv(key: str, **value: object) -> dict[str, object]:
    return {"key": key, "value": value}


RECORD = {
    "timeUnixNano": "1785326400123456789",
    "observedTimeUnixNano": "1785326400200000000",
    "severityNumber": 17,
    "severityText": "Error",
    "body": {"stringValue": "declined"},
    "attributes": [
        kv("http.status", intValue="503"),
        kv("ratio", doubleValue=0.5),
        kv("ok", boolValue=False),
        kv("list", arrayValue={"values": [{"stringValue": "a"}, {"intValue": 1}]}),
        kv("user", kvlistValue={"values": [kv("id", stringValue="7")]}),
        kv("none"),
    ],
    "traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174",
    "droppedAttributesCount": 0,
}
RESOURCE = [kv("service.name", stringValue="checkout"), kv("host.name", stringValue="web01")]
OTLP = {
    "resourceLogs": [
        {
            "resource": {
                "attributes": [kv("service.name", stringValue="checkout"), kv("host.name", stringValue="web01")]
            },
            "scopeLogs": [{"scope": {"name": "app.pay", "version": "1"}, "logRecords": [RECORD, {"body": {}}]}],
        }
    ]
}


def test_docker() -> None:
    assert one(DOCKER) == {
        "timestamp": "2026-07-29T12:00:00.123456789Z",
        "severity": "error",
        "message": "ERROR: declined\n",
        "metadata": {"stream": "stderr"},
    }
    attributes = {"tag": "web/1", "com.docker.compose.service": "web"}
    found = one(DOCKER | {"log": "partial without an end", "attrs": attributes})
    assert (found["source"], found["metadata"]["attrs"], "severity" in found) == ("web", attributes, False)


def test_journald() -> None:
    found = one(JOURNALD)
    assert found["id"] == JOURNALD["__CURSOR"]
    assert (found["timestamp"], found["severity"], found["source"]) == ("1785326400123000", "3", "sshd")
    assert found["message"] == "error: PAM: no"
    moved = {"MESSAGE", "PRIORITY", "_SOURCE_REALTIME_TIMESTAMP"}
    assert found["metadata"] == {name: value for name, value in JOURNALD.items() if name not in moved}


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ([27, 91, 51, 49, 109, 195, 169], "\x1b[31m\xe9"),
        ([255, 97], "\\xffa"),
        (None, ""),
        ("", ""),
        (["one", "two"], "one\ntwo"),
        ([[97, 98], "c"], "ab\nc"),
        ([], ""),
        ({"a": 1}, '{"a": 1}'),
        (7, "7"),
        ([300], "300"),
    ],
)
def test_a_message_of_the_journal_may_be_bytes_or_missing(message: object, wanted: str) -> None:
    assert one(JOURNALD | {"MESSAGE": message})["message"] == wanted


def test_a_long_cursor_is_hashed_and_kept() -> None:
    cursor = "s=" + "a" * 200
    found = one(JOURNALD | {"__CURSOR": cursor})
    assert len(found["id"]) == 64
    assert found["metadata"]["__CURSOR"] == cursor
    assert found["id"] != one(JOURNALD | {"__CURSOR": cursor + "b"})["id"]


def test_pino_and_bunyan() -> None:
    found = one(PINO)
    assert (found["timestamp"], found["severity"], found["source"]) == (1785326400123, "warn", "Checkout")
    assert found["message"] == "slow"
    assert found["metadata"] == {"pid": 657, "hostname": "web01", "name": "Checkout", "reqId": 9007199254740993}
    found = one(BUNYAN)
    assert (found["timestamp"], found["severity"], found["source"]) == ("2026-07-29T12:00:00.123Z", "error", "checkout")
    assert found["metadata"]["component"] == "db"


@pytest.mark.parametrize(
    ("level", "severity", "kept"),
    [
        (10, "trace", False),
        (30, "info", False),
        (35, "info", True),
        (60, "fatal", False),
        (70, "fatal", True),
        (5, "trace", True),
    ],
)
def test_levels_of_pino_between_its_own_stay_in_the_metadata(level: int, severity: str, kept: bool) -> None:
    found = one(PINO | {"level": level})
    assert (found["severity"], "level" in found["metadata"]) == (severity, kept)


def test_cloudtrail() -> None:
    found = one(CLOUDTRAIL)
    assert (found["id"], found["timestamp"]) == (CLOUDTRAIL["eventID"], "2026-07-29T12:00:00Z")
    assert (found["severity"], found["source"]) == ("info", "s3.amazonaws.com")
    assert found["message"] == "s3.amazonaws.com GetObject"
    assert found["metadata"] == {name: value for name, value in CLOUDTRAIL.items() if name != "eventTime"}
    denied = one(CLOUDTRAIL | {"errorCode": "AccessDenied", "errorMessage": "no"})
    assert (denied["severity"], denied["message"]) == ("error", "s3.amazonaws.com GetObject AccessDenied: no")


def test_a_file_of_cloudtrail_is_its_records() -> None:
    for name in (AUTO, "cloudtrail"):
        assert len(read({"x": 1, "Records": [CLOUDTRAIL, CLOUDTRAIL | {"eventID": "2"}]}, name)) == 2
    found = read({"x": 1, "Records": [CLOUDTRAIL, 7]})
    assert found[1]["metadata"] == {"item": 7}


def test_kubernetes() -> None:
    found = one(KUBERNETES)
    assert found["id"] == "79b5a7b0-9a4f-4d2a-8d2e-0a8b0c6f1e11/ResponseComplete"
    assert (found["timestamp"], found["severity"]) == ("2026-07-29T12:00:00.123456Z", "info")
    assert found["message"] == "alice create /api/v1/namespaces/shop/pods 201 ResponseComplete"
    assert found["metadata"] == {name: value for name, value in KUBERNETES.items() if name != "stageTimestamp"}
    items = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [KUBERNETES, KUBERNETES]}
    assert [event["id"] for event in read(items)] == [found["id"]] * 2


@pytest.mark.parametrize(
    ("change", "severity"),
    [
        ({"responseStatus": {"code": 403}}, "warn"),
        ({"responseStatus": {"code": 500}}, "error"),
        ({"stage": "Panic"}, "error"),
    ],
)
def test_the_severity_of_an_audit_record_is_that_of_its_answer(change: dict[str, Any], severity: str) -> None:
    assert one(KUBERNETES | change)["severity"] == severity


def test_gelf() -> None:
    assert one(GELF) == {
        "timestamp": 1785326400.123,
        "severity": 3,
        "source": "Checkout",
        "message": "declined",
        "metadata": {"host": "web01", "full_message": "declined\nat Pay.java:7", "user_id": 9001, "app": "Checkout"},
    }
    found = one({"version": "1.1", "host": "web01", "short_message": "m", "_x": 1, "x": 2, "_": 3, "__y": 4})
    assert (found["source"], found["metadata"]) == ("web01", {"host": "web01", "_x": 1, "x": 2, "_": 3, "_y": 4})


def test_otlp() -> None:
    first, second = read(OTLP)
    assert (first["timestamp"], first["severity"], first["source"]) == ("1785326400123456789", "error", "checkout")
    assert first["message"] == "declined"
    metadata = first["metadata"]
    assert metadata["attributes"] == {
        "http.status": 503, "ratio": 0.5, "ok": False, "list": ["a", 1], "user": {"id": "7"}, "none": None,
    }  # fmt: skip
    assert metadata["resource"] == {"service.name": "checkout", "host.name": "web01"}
    assert metadata["scope"] == {"name": "app.pay", "version": "1"}
    rest = {"observedTimeUnixNano", "severityNumber", "severityText", "traceId", "spanId", "droppedAttributesCount"}
    assert set(metadata) == rest | {"attributes", "resource", "scope"}
    assert (second["message"], "timestamp" in second) == ("", False)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"timeUnixNano": "0"}, {"timestamp": "1785326400200000000"}),
        ({"severityNumber": "SEVERITY_NUMBER_WARN2"}, {"severity": "warn"}),
        ({"severityNumber": "21"}, {"severity": "fatal"}),
        ({"severityNumber": 0}, {"severity": "Error"}),
        ({"body": {"kvlistValue": {"values": [kv("a", intValue="1")]}}}, {"message": '{"a":1}'}),
        ({"body": {"arrayValue": {"values": [{"stringValue": "a"}]}}}, {"message": '["a"]'}),
        ({"body": {"intValue": "123456789012345678901234567890"}}, {"message": "123456789012345678901234567890"}),
        ({"body": {"doubleValue": "NaN"}}, {"message": "NaN"}),
        ({"body": {"strangeValue": 1}}, {"message": '{"strangeValue": 1}'}),
    ],
)
def test_a_record_of_otlp_may_vary(change: dict[str, Any], wanted: dict[str, Any]) -> None:
    scope = {"scopeLogs": [{"logRecords": [RECORD | change]}]}
    found = one({"resourceLogs": [scope]})
    assert {name: found[name] for name in wanted} == wanted


def test_attributes_may_nest_deeper_than_metadata() -> None:
    value: dict[str, Any] = {"stringValue": "core"}
    for _ in range(60):
        value = {"arrayValue": {"values": [value]}}
    record = RECORD | {"attributes": [{"key": "deep", "value": value}]}
    assert "core" in json.dumps(one({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}))


@pytest.mark.parametrize("field", ["resourceSpans", "resourceMetrics"])
def test_traces_and_metrics_are_refused(field: str) -> None:
    with pytest.raises(Rejected, match="only logs can be sent") as refused:
        read({field: []})
    assert refused.value.code == "wrong_format"


SAMPLES: dict[str, dict[str, Any]] = {
    "docker": DOCKER, "journald": JOURNALD, "pino": PINO, "bunyan": BUNYAN, "cloudtrail": CLOUDTRAIL,
    "k8s-audit": KUBERNETES, "gelf": GELF, "otlp": OTLP,
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_a_named_format_takes_its_own_and_no_other(name: str) -> None:
    assert read(SAMPLES[name], name) == read(SAMPLES[name])
    with pytest.raises(Rejected, match=f"not of the format {name}; try --format auto") as refused:
        read({"timestamp": 1, "message": "m"}, name)
    assert refused.value.code == "wrong_format"


@pytest.mark.parametrize(
    "ours",
    [
        {"timestamp": 1785326400, "severity": "info", "source": "a", "message": "m"},
        PINO | {"timestamp": 1785326400, "severity": "info", "message": "m"},
        GELF | {"timestamp": 1785326400, "severity": "info", "message": "m"},
        {"timestamp": 1785326400, "severity": "info", "message": "m", "resourceSpans": 3},
        {"time": "2026-07-29T12:00:00Z", "level": "info", "msg": "logrus"},
        {"ts": 1785326400.1, "level": "info", "msg": "zap", "caller": "a.go:7"},
        {"level": 3, "message": "m"},
        {"log": "text", "time": "2026-07-29T12:00:00Z", "stream": "stdout", "kubernetes": {}},
        {"Records": [{"eventSource": "aws:s3", "s3": {}}]},
        {"kind": "Event", "apiVersion": "v1"},
        {"version": "1.1", "message": "m"},
        {"events": []},
        [DOCKER],
        "text",
        7,
    ],
)
def test_other_objects_are_sent_as_they_are(ours: object) -> None:
    assert events_of(json.dumps(ours).encode(), AUTO) is None


def test_ndjson_is_sent_as_it_is_and_so_is_what_cannot_be_read() -> None:
    assert events_of(json.dumps(DOCKER).encode(), PLAIN) is None
    bad_utf8 = b'{"log":"a\xff","MESSAGE":"a\xff","stream":"stdout","__REALTIME_TIMESTAMP":"1785326400123456"}'
    for broken in (b'{"log":"a","stream"', b'{"log":"\xff"}x', bad_utf8, b""):
        for name in (AUTO, "docker", "journald"):
            assert events_of(broken, name) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def scalars(value: object) -> Iterator[str]:
    """Every text and number in a value, as text."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from scalars(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from scalars(inner)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "otlp"])
@given(data=st.data())
def test_hostile_fields_stop_no_format_and_nothing_is_dropped(name: str, data: st.DataObject) -> None:
    """Every field may have a value of any type, or be missing; each text and number is somewhere in the event."""
    sample = SAMPLES[name]
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(sample)), json_values, max_size=4))
    left_out = data.draw(st.sets(st.sampled_from(sorted(sample)), max_size=2))
    extra = data.draw(st.dictionaries(st.text(max_size=4).map(lambda key: f"x{key}"), json_values, max_size=3))
    value = {key: each for key, each in (sample | changed | extra).items() if key not in left_out}
    value |= {field: sample[field] for field in FORMATS[name].needs[:1] if field in sample and field not in value}
    found = events_of(json.dumps(value).encode(), name)
    assert found is not None
    text = "\n".join(each for event in found for each in scalars(json.loads(msgspec.json.encode(event))))
    dropped = {"version", "level"} if name in ("gelf", "pino", "bunyan") else set()
    for key, each in value.items():
        if key not in dropped and key != "MESSAGE":
            assert all(part in text for part in scalars(each)), key


@given(
    st.recursive(json_values, lambda inner: st.fixed_dictionaries({"logRecords": inner, "body": inner}), max_leaves=4)
)
def test_hostile_requests_of_otlp_stop_nothing(value: object) -> None:
    for shape in (value, [value], [{"scopeLogs": value}], [{"scopeLogs": [{"logRecords": [value]}]}]):
        found = events_of(json.dumps({"resourceLogs": shape}).encode(), "otlp")
        assert found is not None
        msgspec.json.encode(list(found))
