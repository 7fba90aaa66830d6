"""Whatever is asked, by any address: no error of the store, and nothing of another tenant."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parsec.api.parameters import ENDPOINTS, TAIL
from tests.support.process import Parsec
from tests.support.sabotaged import under
from tests.support.tailing import Reader

MINE, THEIRS, SECRET = 20, 500, "wolpertinger"


@pytest.fixture(scope="module")
def parsec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsec]:
    """A few events of `mine`, and many of `theirs` that carry the secret in every field."""
    data_dir = tmp_path_factory.mktemp("fuzz") / "data"
    with Parsec(data_dir, under(TAILS_PER_TENANT=200), PARSEC_PROCESS_LINGER_MS="50") as running:
        mine = [
            {"tenant_id": "mine", "id": f"m{n}", "timestamp": f"2026-01-01T00:00:{n:02d}Z", "severity": "info",
             "source": "api", "message": f"line {n}", "metadata": {"n": n, "a": {"b": "x"}, "list": [1, 2]}}
            for n in range(MINE)
        ]  # fmt: skip
        theirs = [
            {"tenant_id": "theirs", "id": f"{SECRET}-{n}", "timestamp": f"2026-01-01T00:00:{n % 60:02d}Z",
             "severity": "fatal", "source": SECRET, "message": f"line {SECRET}", "metadata": {SECRET: n, "n": SECRET}}
            for n in range(THEIRS)
        ]  # fmt: skip
        assert running.ingest(mine + theirs)[1]["accepted"] == MINE + THEIRS
        running.wait_processed()
        yield running
        assert "Traceback" not in running.logs()


PIECES = (
    *("'", '"', "`", "\\", ";", "--", "/*", "*/", ")", "(", "{", "}", "[", "]", "%", "_", "*", ":", ",", ".", "\0"),
    *("\n", "{v0:String}", "{tenant:String}", "' OR 1=1 --", ") OR (1", "FORMAT CSV", "UNION ALL SELECT", "theirs"),
    *("metadata.", "source", "severity", "timestamp", "n", "a.b", "line", "-1h", "0", "1e9", "9223372036854775808"),
    *("-1", "count", "distinct(", "p99.9(", "metadata.n)", "null", "true", "NOT ", " OR ", "ü", "\U0001f600", "csv"),
)
odd = st.lists(st.sampled_from(PIECES), max_size=5).map("".join) | st.text(max_size=12)
text = odd | odd.map("metadata.{}".format) | odd.map("max(metadata.{})".format) | odd.map("metadata.n:{}".format)
ASKED = [each for each in ENDPOINTS if each.path.startswith(("/query", "/deadletters")) and each is not TAIL]
NAMES = sorted({each.name for endpoint in ASKED for each in endpoint.parameters})
PATHS = sorted(re.sub("{(partition|offset)}", "0", re.sub("{(id|name|log_id)}", "{}", each.path)) for each in ASKED)


def counted(answer: Any) -> Iterator[int]:
    """Every count in an answer."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name == "count" and isinstance(value, int):
                yield value
            else:
                yield from counted(value)
    elif isinstance(answer, list):
        for each in answer:
            yield from counted(each)


def check(parsec: Parsec, path: str, parameters: list[tuple[str, str]]) -> None:
    asked = f"{path}?{urlencode([('tenant', 'mine'), *parameters], errors='surrogatepass')}"
    status, headers, body = parsec.request("GET", asked)
    assert status in (200, 400, 404), (asked, body)
    assert SECRET.encode() not in body, (asked, body)
    assert b'"tenant_id":"theirs"' not in body, (asked, body)
    if (status, headers["content-type"]) == (200, "application/json"):
        assert all(count <= MINE for count in counted(json.loads(body))), (asked, body)


RANGE = [("from", "2026-01-01"), ("to", "2026-01-02")]


@settings(max_examples=400)
@given(
    st.sampled_from(PATHS), text,
    st.lists(st.tuples(st.sampled_from(NAMES), text), max_size=2, unique_by=lambda each: each[0]), st.booleans(),
)  # fmt: skip
@example("/query/aggregate", "", [("by", "metadata.n` FROM events --")], True)
@example("/query/aggregate", "", [("metric", "max(metadata.n')")], True)
@example("/query/events", "", [("fields", "metadata.'; DROP TABLE events"), ("order", "newest")], True)
@example("/query/fields/{}/values", "tenant_id", [], True)
@example("/query/histogram", "", [("interval", "1"), ("by", "metadata.^a")], False)
@example("/query/histogram", "", [("interval", "18446744073709551616")], True)
@example("/query/events/{}", "' OR '1'='1", [], True)
@example("/query/events", "", [("q", "metadata.a.:`String`:*")], True)
def test_nothing_that_is_asked_fails_the_store_or_shows_others(
    parsec: Parsec, path: str, name: str, parameters: list[tuple[str, str]], ranged: bool
) -> None:
    parameters = [each for each in parameters if each[0] != "tenant" or each[1] == "mine"]
    between = [each for each in RANGE if ranged and each[0] not in dict(parameters)]
    check(parsec, path.format(quote(name, safe="", errors="surrogatepass")), [*between, *parameters])


@settings(max_examples=200)
@given(st.data())
def test_no_cursor_leads_to_others(parsec: Parsec, data: st.DataObject) -> None:
    whose = data.draw(st.sampled_from(["mine", "theirs"]))
    found = parsec.get(f"/query/events?tenant={whose}&from=2026-01-01&limit=3")[1]["cursor"]
    fields = json.loads(base64.urlsafe_b64decode(found + "=" * (-len(found) % 4)))
    changed = data.draw(st.integers(0, len(fields) - 1))
    value = st.one_of(text, st.integers(-2, 1 << 64), st.just("mine"), st.none(), st.just(fields[changed]))
    fields[changed] = data.draw(value)
    written = base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=").decode()
    cursor = data.draw(st.sampled_from([written, written[:-2], written.swapcase()]))
    check(parsec, "/query/events", [("from", "2026-01-01"), ("limit", "3"), ("cursor", cursor)])


def test_live_events_are_ones_own_whatever_is_asked(parsec: Parsec) -> None:
    chance = Random(7)
    asked = ["".join(chance.choices(PIECES, k=chance.randint(1, 4))) for _ in range(150)]
    asked += [f"metadata.n:{each}" for each in asked[:50]]
    event = {"timestamp": "2026-01-01T00:00:00Z", "severity": "info", "message": "line n", "metadata": {"n": 1}}
    own, secret = event | {"tenant_id": "live", "source": "api"}, event | {"tenant_id": "theirs", "source": SECRET}
    with ExitStack() as opened:
        everything = opened.enter_context(Reader(parsec.port, "live"))
        readers = [Reader(parsec.port, "live", each) for each in asked]
        for reader in readers:
            opened.push(reader)
        assert {reader.status for reader in readers} == {200, 400}
        readers = [reader for reader in readers if reader.status == 200]
        for reader in readers:
            reader.read()
        assert parsec.ingest([own, secret] * 10)[1]["accepted"] == 20
        everything.wait(lambda reader: len(reader.events) >= 10)
        assert parsec.ingest([secret, own] * 10)[1]["accepted"] == 20
        everything.wait(lambda reader: len(reader.events) >= 20)  # so all have compared the first ones
        assert any(reader.events for reader in readers)
        for reader in readers:
            assert not reader.ended
            assert all(event["tenant_id"] == "live" and SECRET not in str(event) for event in reader.events)
