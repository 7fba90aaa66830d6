"""One tenant does something, and another one asks everything there is to ask: no answer may be another for it.

Both have keys of their own, on the real process. What is compared: status, headers and body of every address, before
and after, but for the time. Other tenants' names, ids, fields and cursors are among what is asked about.
"""

import http.client
import json
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from parsec.core.clock import SystemRandom
from parsec.keys.issue import Wanted, create
from tests.support.addresses import About, Asked, all_addresses
from tests.support.load import event
from tests.support.process import Parsec, eventually

BUSY, WATCHER = "sekret", "watcher"
OF_TIME = re.compile(rb'"complete_until":"[^"]*"')
UNSTEADY = {"date", "content-length", "parsec-complete-until"}
OWN = [f"own-{n}" for n in range(5)]
SENT_BEFORE = About(id="e-1")
"""The watcher's own event that is sent again and again, and stored once."""

_numbers = count()


class Deed(NamedTuple):
    """What the busy tenant sends: how many events, and which of them are named as the watcher's are."""

    events: int
    severity: str
    same_ids: bool
    same_words: bool
    ack: str


class Watching(NamedTuple):
    """What the watcher asks about."""

    id: str
    q: str
    field: str


class Tenants:
    """Two tenants of one Parsec."""

    def __init__(self, parsec: Parsec, keys: Mapping[str, str]) -> None:
        self.parsec = parsec
        self._keys = keys

    def sends(self, tenant: str, *events: dict[str, object], query: str = "") -> None:
        headers = {"Authorization": f"Bearer {self._keys[tenant]}"}
        status, answer = self.parsec.ingest(list(events), query, headers)
        assert (status, answer["accepted"]) == (200, len(events)), answer

    def asks(self, tenant: str, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        """An answer without what time alone changes."""
        headers = {"Authorization": f"Bearer {self._keys[tenant]}"}
        status, told, body = self.parsec.request(asked.method, asked.path, asked.body, headers)
        body = b"{}" if asked.path == "/health" else OF_TIME.sub(b'"complete_until":null', body)
        return status, {k: v for k, v in told.items() if k not in UNSTEADY}, body

    def all_answers(self, about: About) -> dict[str, tuple[int, dict[str, str], bytes]]:
        """What the watcher is told, address by address; the tail, which does not end, is looked at elsewhere."""
        return {
            f"{method} {path}": self.asks(WATCHER, ask(about if right != "ingest" else SENT_BEFORE))
            for (method, path), (right, ask) in all_addresses().items()
            if path != "/query/tail"
        }

    def opens_tail(self) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self.parsec.connection()
        connection.request("GET", "/query/tail", headers={"Authorization": f"Bearer {self._keys[WATCHER]}"})
        response = connection.getresponse()
        assert (response.status, response.readline()) == (200, b"retry: 1000\n")
        return connection, response


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    data_dir: Path = tmp_path_factory.mktemp("parsec") / "data"
    file, now = data_dir / "keys.toml", datetime.now(UTC)
    keys = {
        name: create(file, Wanted(("ingest", "query"), name), SystemRandom(), now) for name in (BUSY, WATCHER, "nobody")
    }
    with Parsec(data_dir, PARSEC_DISK_RESERVE="0", PARSEC_PROCESS_LINGER_MS="20") as parsec:
        parsec.key = create(file, Wanted(("admin",)), SystemRandom(), now)
        eventually(lambda: parsec.get("/stats")[0] == 200)
        both = Tenants(parsec, keys)
        both.sends(WATCHER, *(event(name, WATCHER, f"a word of {name}") for name in OWN), event("e-1", WATCHER))
        parsec.wait_processed()
        yield both


deeds = st.builds(
    Deed, st.integers(1, 3), st.sampled_from(["info", "fatal"]), st.booleans(), st.booleans(),
    st.sampled_from(["durable", "enqueued"]),
)  # fmt: skip
watchings = st.builds(
    Watching,
    st.sampled_from([OWN[0], "e-1", "{word}-0", "none", "{word}/context"]),
    st.sampled_from(
        ["", "{word}", "source:{word}", "metadata.{word}:*", "severity:fatal", "NOT word", 'word OR "{word}"', "("]
    ),
    st.sampled_from(["source", "severity", "metadata.user_id", "metadata.{word}", "id"]),
)  # fmt: skip


def done_by_the_busy(deed: Deed, word: str) -> list[dict[str, object]]:
    events = []
    for n in range(deed.events):
        name = OWN[n] if deed.same_ids else f"{word}-{n}"
        text = f"a word of {name}" if deed.same_words else f"{word} said"
        made = event(name, BUSY, text) | {"severity": deed.severity}
        events.append(made if deed.same_words else made | {"source": word, "metadata": {word: word, "user_id": word}})
    return events


def check(tenants: Tenants, deed: Deed, watching: Watching) -> None:
    word = f"w{next(_numbers)}x"
    about = About(None, *(text.format(word=word) for text in watching))
    before = tenants.all_answers(about)
    tenants.sends(BUSY, *done_by_the_busy(deed, word), query=f"?ack={deed.ack}")
    tenants.parsec.wait_processed()
    after = tenants.all_answers(about)
    assert after == before
    health = tenants.parsec.request("GET", "/health", headers={})[2]
    assert set(json.loads(health)) == {"status", "timestamp"}
    for address, (_, headers, body) in after.items():
        assert BUSY not in f"{headers}{body!r}", address
    for right, ask in all_addresses().values():
        if right == "query":
            taken, free = (tenants.asks(WATCHER, ask(about._replace(tenant=name))) for name in (BUSY, "unheard-of"))
            assert taken == free
            assert taken[0] in (403, 404)  # 404: an id with a slash leads to no address


unhurried = settings(
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
    phases=[Phase.generate],  # to look for a smaller example would take minutes
)


@settings(unhurried, max_examples=15)
@given(deed=deeds, watching=watchings)
def test_nothing_tells_of_another_tenant(tenants: Tenants, deed: Deed, watching: Watching) -> None:
    check(tenants, deed, watching)


@pytest.mark.integration
@settings(unhurried, max_examples=80)
@given(deed=deeds, watching=watchings)
def test_nothing_tells_of_another_tenant_however_one_asks(tenants: Tenants, deed: Deed, watching: Watching) -> None:
    check(tenants, deed, watching)


def test_a_cursor_or_a_position_of_another_tenant_is_as_good_as_a_made_up_one(tenants: Tenants) -> None:
    tenants.sends(BUSY, event("c-1", BUSY), event("c-2", BUSY))
    tenants.parsec.wait_processed()
    page = "/query/events?from=0&to=2100-01-01T00:00:00Z&limit=1"
    cursor = json.loads(tenants.asks(BUSY, Asked("GET", page))[2])["cursor"]
    assert cursor
    assert tenants.asks(BUSY, Asked("GET", f"{page}&cursor={quote(cursor)}"))[0] == 200
    refused = tenants.asks(WATCHER, Asked("GET", f"{page}&cursor={quote(cursor)}"))
    assert (refused[0], json.loads(refused[2])["code"]) == (400, "invalid_cursor")
    made_up = tenants.asks("nobody", Asked("GET", f"{page}&cursor={quote(cursor)}"))
    assert made_up == refused
    assert b"sekret" not in b64decode(cursor + "===", altchars=b"-_"), "an offset would count the events of all tenants"
    for n in range(0, len(cursor), 7):
        changed = f"{cursor[:n]}{'A' if cursor[n] != 'A' else 'B'}{cursor[n + 1 :]}"
        assert tenants.asks(BUSY, Asked("GET", f"{page}&cursor={quote(changed)}"))[0] == 400
    ledger = tenants.parsec.stats()["ledger"]["partitions"][0]
    letters = [tenants.asks(WATCHER, Asked("GET", f"/deadletters/{log}/0/0")) for log in (ledger["log_id"], "none")]
    assert letters[0] == letters[1]
    assert letters[0][0] == 404


def test_an_id_of_another_tenant_is_free(tenants: Tenants) -> None:
    tenants.sends(BUSY, event("shared-id", BUSY, "theirs"))
    tenants.parsec.wait_processed()
    tenants.sends(WATCHER, event("shared-id", WATCHER, "ours"))
    tenants.parsec.wait_processed()
    for tenant, message in ((BUSY, "theirs"), (WATCHER, "ours")):
        status, _, body = tenants.asks(tenant, Asked("GET", "/query/events/shared-id"))
        assert (status, json.loads(body)["event"]["message"]) == (200, message)


def test_a_tail_shows_its_own_tenant_only(tenants: Tenants) -> None:
    connection, tail = tenants.opens_tail()
    try:
        for n in range(5):
            tenants.sends(BUSY, event(f"t-{n}", BUSY))
        tenants.parsec.wait_processed()
        tenants.sends(WATCHER, event("t-own", WATCHER))
        seen: list[bytes] = []
        while not seen or b"t-own" not in seen[-1]:
            seen.append(tail.readline())
        assert [line for line in seen if line.startswith(b"data:")] == seen[-1:]
        assert BUSY.encode() not in b"".join(seen)
    finally:
        connection.close()
