"""Every query parameter of every endpoint, declared once.

A field of a struct is a parameter: its type, its default, and a Spec with help text, range and what it needs. The name
of the field is the client's keyword; `name` is the name in the URL if that differs. Everything else about a
parameter follows: the server's parsing and its errors, openapi.yaml, the tables of docs/api.md, the names in the fuzz
tests, the methods of the client. tests/unit/api/test_parameters.py names the flags that are missing. Next:
parsec.api.endpoint.
"""

from collections.abc import Sequence
from types import NoneType
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from parsec.api import query as answers
from parsec.api.audit import Audit
from parsec.api.endpoint import Endpoint, Spec
from parsec.api.event import TENANT_PATTERN
from parsec.api.ingest import IngestAnswer
from parsec.api.repair import RepairStatus
from parsec.api.status import HealthAnswer, KeylessAnswer, LivenessAnswer, ReadinessAnswer, StatsAnswer
from parsec.core.severity import Scale

DEFAULT_LIMIT = 100
MAX_PAGE = 10_000
MAX_QUERY_CHARS = 4096
MAX_SHOWN_FIELDS = 50
MAX_METRICS = 10
MAX_GROUP_FIELDS = 3
MAX_GROUPS = 10_000
MAX_FIELD_VALUES = 10_000
MAX_NEIGHBOURS = 1_000
MAX_INTERVAL_S = 52 * 604_800

NO_TENANT = "-"
"""The tenant of dead letters without a readable tenant."""

Order: TypeAlias = Literal["newest", "oldest"]
Format: TypeAlias = Literal["json", "ndjson", "csv"]

# Tables, as in parsec.settings: the formatter would need ten lines for each row.
# fmt: off
_Tenant: TypeAlias = Annotated[str | None, Spec(
    help="Tenant of the events. Default: the tenant of the API key. Required without a key or if the key has none.")]
_LetterTenant: TypeAlias = Annotated[str | None, Spec(
    help="As for `GET /query/events`; `-` selects dead letters without a readable tenant.")]
_Query: TypeAlias = Annotated[str | None, Spec(
    help='Expression of the query language, such as `severity:error "timed out"`. Default: all events.',
    format="parsec-query", max_chars=MAX_QUERY_CHARS, example='severity:error "timed out"')]
_From: TypeAlias = Annotated[str | None, Spec(
    help="Start of the time range, inclusive: RFC 3339, a number since 1970, `now`, or relative, such as `-2h`. "
    "Default: one hour before the end.", format="parsec-time", example="-2h")]
_SinceAlways: TypeAlias = Annotated[str | None, Spec(
    help="Start of the time range, as for `GET /query/events`. Default: no limit.", format="parsec-time")]
_To: TypeAlias = Annotated[str | None, Spec(
    help="End of the time range, exclusive, in the same forms.", format="parsec-time", default="now")]
_Limit: TypeAlias = Annotated[int, Spec(help="Maximum number of items per page.", minimum=1, maximum=MAX_PAGE)]
_Cursor: TypeAlias = Annotated[str | None, Spec(
    help="The `cursor` of the previous page of the same query. It keeps the time range of the first page.",
    format="parsec-cursor")]
_EventId: TypeAlias = Annotated[str, Spec(help="Id of the event.", format="parsec-event-id", in_path=True)]
_FieldNames: TypeAlias = Annotated[Sequence[str], Spec(
    help="Names to try for this field, in order, separated by commas; its own name comes last. A dot selects a key of "
    "a nested object.", commas=True, max_count=16, pattern="^[^,]{1,256}(,[^,]{1,256}){0,15}$")]
_Neighbours: TypeAlias = Annotated[int, Spec(
    help="Maximum number of events on this side.", minimum=0, maximum=MAX_NEIGHBOURS)]


class TenantQuery(msgspec.Struct, frozen=True):
    tenant: _Tenant = None


class ScopeQuery(TenantQuery, frozen=True, kw_only=True):
    """The events that a query selects."""

    q: _Query = None
    start: _From = msgspec.field(default=None, name="from")
    end: _To = msgspec.field(default=None, name="to")


class EventsQuery(ScopeQuery, frozen=True, kw_only=True):
    order: Annotated[Order, Spec(help="Order of the events by `timestamp`.")] = "newest"
    fields: Annotated[Sequence[str], Spec(
        help=f"Fields to return, at most {MAX_SHOWN_FIELDS}, separated by commas. Default: the whole event.",
        format="parsec-fields", commas=True, max_count=MAX_SHOWN_FIELDS, example="id,message,metadata.user.id")] = ()
    limit: Annotated[int | None, Spec(
        help="Maximum number of events per page. Without it `ndjson` and `csv` return all events.", minimum=1,
        maximum=MAX_PAGE, default=DEFAULT_LIMIT)] = None
    cursor: _Cursor = None
    format: Annotated[Format | None, Spec(
        help="Format of the answer. Default: chosen by the header `Accept`, otherwise `json`.")] = None


class ExportQuery(EventsQuery, frozen=True, kw_only=True):
    """The same without the default of an hour, for `parsec export`."""

    start: _SinceAlways = msgspec.field(default=None, name="from")
    end: Annotated[str | None, Spec(
        help="End of the time range, exclusive, in the same forms. Default: no limit.",
        format="parsec-time")] = msgspec.field(default=None, name="to")


class TailQuery(TenantQuery, frozen=True, kw_only=True):
    q: _Query = None


class HistogramQuery(ScopeQuery, frozen=True, kw_only=True):
    interval_s: Annotated[int, Spec(
        help="Length of a bucket in seconds. 0: about 60 buckets.", minimum=0,
        maximum=MAX_INTERVAL_S)] = msgspec.field(default=0, name="interval")
    by: Annotated[str | None, Spec(
        help="Field to group by: its most frequent values are counted separately.", format="parsec-field",
        example="severity")] = None
    limit_groups: Annotated[int, Spec(
        help="Maximum number of values to count separately.", minimum=1, maximum=100, needs="by")] = 10


class AggregateQuery(ScopeQuery, frozen=True, kw_only=True):
    metrics: Annotated[Sequence[str], Spec(
        help="`count`, `distinct(f)`, `min(f)`, `max(f)`, `avg(f)`, `sum(f)`, or a percentile from `p0(f)` to "
        "`p99.999(f)`, such as `p95(f)`.", format="parsec-metric", max_count=MAX_METRICS,
        example=("count", "p95(metadata.latency_ms)"))] = msgspec.field(default=("count",), name="metric")
    by: Annotated[Sequence[str], Spec(
        help="Field to group by.", format="parsec-field", max_count=MAX_GROUP_FIELDS)] = ()
    top: Annotated[int, Spec(
        help="Maximum number of groups, ranked by the first metric.", minimum=1, maximum=MAX_GROUPS)] = 10


class ValuesQuery(msgspec.Struct, frozen=True):
    field: Annotated[str, Spec(
        help="Name of the field, such as `source` or `metadata.user.id`.", format="parsec-field",
        in_path=True)] = msgspec.field(name="name")
    tenant: _Tenant = None
    q: _Query = None
    start: _From = msgspec.field(default=None, name="from")
    end: _To = msgspec.field(default=None, name="to")
    limit: Annotated[int, Spec(help="Maximum number of values.", minimum=1, maximum=MAX_FIELD_VALUES)] = DEFAULT_LIMIT


class EventQuery(msgspec.Struct, frozen=True):
    id: _EventId
    tenant: _Tenant = None


class ContextQuery(msgspec.Struct, frozen=True):
    id: _EventId
    tenant: _Tenant = None
    before: _Neighbours = 10
    after: _Neighbours = 10


class DeadLettersQuery(msgspec.Struct, frozen=True):
    tenant: _LetterTenant = None
    start: _SinceAlways = msgspec.field(default=None, name="from")
    end: _To = msgspec.field(default=None, name="to")
    reason: Annotated[str | None, Spec(help="Only dead letters with this reason.")] = None
    limit: _Limit = DEFAULT_LIMIT
    cursor: _Cursor = None


class DeadLetterQuery(msgspec.Struct, frozen=True):
    log_id: Annotated[str, Spec(help="Id of the log.", in_path=True)]
    partition: Annotated[int, Spec(help="Partition.", minimum=0, maximum=2**32 - 1, in_path=True)]
    offset: Annotated[int, Spec(help="Offset.", minimum=0, maximum=2**64 - 1, in_path=True)]
    tenant: _LetterTenant = None


class IngestQuery(msgspec.Struct, frozen=True, kw_only=True):
    ack: Annotated[Literal["durable", "enqueued"], Spec(
        help="Answer when the events are durable, or as soon as they are enqueued.")] = "durable"
    id_field: _FieldNames = ()
    tenant_field: _FieldNames = ()
    timestamp_field: _FieldNames = ()
    severity_field: _FieldNames = ()
    source_field: _FieldNames = ()
    message_field: _FieldNames = ()
    tenant_id: Annotated[str | None, Spec(help="Tenant of events that name none.", pattern=TENANT_PATTERN)] = None
    source: Annotated[str | None, Spec(help="Source of events that name none.", pattern=r"\S", max_chars=256)] = None
    severity: Annotated[str | None, Spec(help="Severity of events that name none.", format="parsec-severity")] = None
    severity_numbers: Annotated[Scale | None, Spec(
        help="Meaning of a severity that is a number: of syslog (0 to 7), OpenTelemetry (1 to 24), pino and bunyan (10 "
        "to 60), or Python (0 to 50). Default: that of the name in severity_field (`severityNumber`, `levelno`), "
        "otherwise 0 to 7 as in syslog, 10, 20 ... 60 as in pino, others as in OpenTelemetry.")] = None


class NoQuery(msgspec.Struct, frozen=True):
    """Of an endpoint without parameters."""


# fmt: on
INGEST = Endpoint("ingest", "/ingest", IngestQuery, IngestAnswer, "post")
EVENTS = Endpoint("events", "/query/events", EventsQuery, answers.EventPage)
EXPORT = Endpoint("export", "/query/events", ExportQuery, answers.EventPage)
TAIL = Endpoint("tail", "/query/tail", TailQuery, NoneType)
HISTOGRAM = Endpoint("histogram", "/query/histogram", HistogramQuery, answers.Histogram)
AGGREGATE = Endpoint("aggregate", "/query/aggregate", AggregateQuery, answers.AggregateAnswer)
FIELDS = Endpoint("fields", "/query/fields", ScopeQuery, answers.FieldList)
VALUES = Endpoint("values", "/query/fields/{name}/values", ValuesQuery, answers.ValueList)
EVENT = Endpoint("event", "/query/events/{id}", EventQuery, answers.EventAnswer)
CONTEXT = Endpoint("context", "/query/events/{id}/context", ContextQuery, answers.EventContext)
DEAD_LETTERS = Endpoint("deadLetters", "/deadletters", DeadLettersQuery, answers.DeadLetterPage)
DEAD_LETTER = Endpoint(
    "deadLetter", "/deadletters/{log_id}/{partition}/{offset}", DeadLetterQuery, answers.DeadLetterDetail
)
AUDIT = Endpoint("audit", "/admin/audit", NoQuery, Audit)
REPAIR = Endpoint("repair", "/admin/repair", NoQuery, RepairStatus, "post")
REPAIR_STATUS = Endpoint("repairStatus", "/admin/repair", NoQuery, RepairStatus)
KEYLESS = Endpoint("keyless", "/admin/keyless", NoQuery, KeylessAnswer)

HEALTH = Endpoint("health", "/health", NoQuery, HealthAnswer)
LIVEZ = Endpoint("livez", "/livez", NoQuery, LivenessAnswer)
READYZ = Endpoint("readyz", "/readyz", NoQuery, ReadinessAnswer)
STATS = Endpoint("stats", "/stats", NoQuery, StatsAnswer)
METRICS = Endpoint("metrics", "/metrics", NoQuery, NoneType)
OPENAPI = Endpoint("openapi", "/openapi.yaml", NoQuery, NoneType)

ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    INGEST, EVENTS, TAIL, HISTOGRAM, AGGREGATE, FIELDS, VALUES, EVENT, CONTEXT, DEAD_LETTERS, DEAD_LETTER, AUDIT,
    REPAIR, REPAIR_STATUS,
)  # fmt: skip
