"""Loaded by schemathesis: what the formats of openapi.yaml mean, and what that document cannot say.

In: generated cases. Out: values of Parsec's own formats, bodies as their Content-Encoding says, a check of each answer
of /ingest. Cases whose parameters are right one by one and wrong together are not made where all must be accepted.
"""

import gzip
import json
import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import schemathesis
from hypothesis import strategies as st

from parsec.api.ingest import CODES
from parsec.api.parameters import ENDPOINTS
from parsec.core.clock import SystemClock
from parsec.core.errors import Rejected
from parsec.core.severity import SEVERITY_ALIASES
from parsec.query.sql.histogram import MOST_BUCKETS, interval
from parsec.query.timerange import TimeRange, timerange

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SEEDED = tuple(f"seed/{n}" for n in range(20))
"""Ids of events that the test stores before the run, so that questions about one event find some."""

STAMPS = ("2026-01-31T12:00:00Z", "2026-01-31 12:00:00.123456789+05:30", "1769860800", 1_769_860_800, 1.5, 0)
TIMES = ("-2h", "now", "0", "2026-01-31", "2026-01-31T12:00:00.5+02:00", "1769860800123", "now-7d", "+1m")
FIELDS = ("severity", "source", "message", "id", "node", "metadata.n", "metadata.user.id", "metadata.odd'name")
TERMS = ("word", '"two words"', "severity:error", "source:seed*", "metadata.n:>5", "metadata.n:[1 TO 7]", "/wor+d/",
         "NOT debug", "*", "timestamp:>2026-01-01T00:00:00Z", "metadata.user.id:*", "(a OR b)")  # fmt: skip
METRICS = ("count", "distinct(source)", "max(metadata.n)", "avg(metadata.n)", "p95(metadata.n)", "min(timestamp)")
ENCODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress}

NEEDS = [(each.name, each.spec.needs) for one in ENDPOINTS for each in one.parameters if each.spec.needs]
"""A parameter and its companion, which openapi.yaml can name in words only."""

EVENTS = st.fixed_dictionaries(
    {
        "tenant_id": st.just("acme"),
        "timestamp": st.sampled_from(STAMPS),
        "severity": st.sampled_from(sorted(SEVERITY_ALIASES)),
        "source": st.sampled_from(("api", "Ünïcode", " spaced ")),
        "message": st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip),
    }
)

for _name, _strategy in {
    "parsec-timestamp": st.sampled_from([each for each in STAMPS if isinstance(each, str)]),
    "parsec-severity": st.sampled_from(sorted(SEVERITY_ALIASES)),
    "parsec-time": st.sampled_from(TIMES),
    "parsec-field": st.sampled_from(FIELDS),
    "parsec-fields": st.lists(st.sampled_from(FIELDS), min_size=1).map(",".join),
    "parsec-query": st.lists(st.sampled_from(TERMS), min_size=1, max_size=5).map(" ".join),
    "parsec-metric": st.sampled_from(METRICS),
    "parsec-event-id": st.sampled_from(SEEDED) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    "parsec-cursor": st.just(""),  # a real one fits one question alone; the tests of paging have them
}.items():
    schemathesis.openapi.format(_name, _strategy)

schemathesis.openapi.media_type(
    "application/x-ndjson",
    st.lists(EVENTS, min_size=1).map(lambda events: b"".join(json.dumps(one).encode() + b"\n" for one in events)),
)


@schemathesis.serializer("application/x-ndjson")
def as_it_is(_: Any, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def filter_query(_: Any, query: Mapping[str, Any] | None) -> bool:
    """Whether no companion is missing, the range of a question is one, and has no more buckets than allowed."""
    given = query or {}
    if any(name in given and needed not in given for name, needed in NEEDS):
        return False
    try:
        between = timerange(given.get("from"), given.get("to"), SystemClock())
        return _buckets(between, int(given.get("interval") or 0)) < MOST_BUCKETS
    except (Rejected, ValueError, TypeError, AttributeError):
        return given.get("from") not in TIMES or given.get("to", "now") not in TIMES


def _buckets(between: TimeRange, interval_s: int) -> float:
    return (between.end_ns - between.start_ns) / 1e9 / (interval_s or interval(between))


@schemathesis.hook
def before_call(_: Any, case: Any, __: Any) -> None:
    """A body is compressed as its header says; what is no JSON stays as it is."""
    encode = ENCODERS.get((case.headers or {}).get("Content-Encoding", ""))
    if encode is not None and case.method.upper() == "POST":
        body = case.body if isinstance(case.body, bytes) else json.dumps(case.body).encode()
        case.body = encode(body)


@schemathesis.check
def what_is_taken_in_adds_up(_: Any, response: Any, case: Any) -> None:
    """Each answer of /ingest: success, counts, errors and the status say the same."""
    if case.operation.path != "/ingest" or "json" not in response.headers.get("content-type", [""])[0]:
        return
    answer = response.json()
    if "errors" not in answer:
        return  # another method
    codes = {error["code"] for error in answer["errors"]}
    assert codes <= CODES.keys(), codes
    assert answer["success"] == (not answer["errors"])
    assert (response.status_code == 200) == (answer["accepted"] > 0 or answer["success"])
    assert not answer["success"] or answer["accepted"] + answer["blank"] > 0
    assert len(answer["errors"]) == min(answer["rejected"], 100) or (answer["accepted"], answer["rejected"]) == (0, 0)
