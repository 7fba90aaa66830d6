"""Events that the store refuses, on the real process: dead letters of their own tenant, and nobody else's trouble."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.load import event
from tests.support.process import Parsec
from tests.support.sabotaged import under

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SETTINGS = {"PARSEC_DISK_RESERVE": "0", "PARSEC_PROCESS_LINGER_MS": "100"}


def send(parsec: Parsec, tenant: str, count: int, poisoned: range) -> None:
    """Events named 0 to count-1, of which some are poison."""
    for first in range(0, count, 1000):
        some = range(first, min(first + 1000, count))
        events = [event(f"{tenant}-{n}", tenant, f"poison {n}" if n in poisoned else f"good {n}") for n in some]
        assert parsec.ingest(json.dumps(events).encode())[1]["accepted"] == len(events)


def found(parsec: Parsec, tenant: str) -> set[str]:
    events = parsec.search(tenant, limit=10_000)
    assert len({each["id"] for each in events}) == len(events)
    return {each["id"] for each in events}


def dead(parsec: Parsec, tenant: str) -> list[dict[str, object]]:
    status, page = parsec.get(f"/deadletters?tenant={tenant}&limit=10000")
    assert (status, page["cursor"]) == (200, None)
    letters: list[dict[str, object]] = page["dead_letters"]
    return letters


def test_one_event_in_twenty_thousand_is_a_dead_letter_and_its_neighbours_land(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", under("refusing"), **SETTINGS) as parsec:
        send(parsec, "acme", 20_000, range(12_345, 12_346))
        parsec.wait_processed()
        assert found(parsec, "acme") == {f"acme-{n}" for n in range(20_000)} - {"acme-12345"}
        (letter,) = dead(parsec, "acme")
        assert (letter["reason"], letter["stage"], letter["tenant_id"]) == ("store_refused", "store", "acme")
        status, whole = parsec.get(f"/deadletters/{letter['position']}?tenant=acme")
        assert (status, json.loads(whole["raw"])["id"]) == (200, "acme-12345")
        ledger = parsec.stats()["ledger"]
        assert (ledger["stored"], ledger["dead"], ledger["difference"]) == (19_999, 1, 0)
        assert parsec.get("/admin/audit")[1]["difference"] == 0


def test_a_tenant_of_poison_alone_is_not_noticed_by_the_others(tmp_path: Path) -> None:
    others = [f"t{n}" for n in range(5)]
    with Parsec(tmp_path / "data", under("refusing"), **SETTINGS) as parsec:
        with ThreadPoolExecutor(6) as senders:
            sent = [senders.submit(send, parsec, "bad", 10_000, range(10_000))]
            sent += [senders.submit(send, parsec, tenant, 3000, range(0)) for tenant in others]
            assert parsec.get("/readyz")[0] == 200
            for each in sent:
                each.result()
        parsec.wait_processed(120)
        for tenant in others:
            assert found(parsec, tenant) == {f"{tenant}-{n}" for n in range(3000)}
            assert dead(parsec, tenant) == []
        assert found(parsec, "bad") == set()
        assert len(dead(parsec, "bad")) == 10_000
        assert parsec.get("/readyz")[0] == 200
        assert parsec.stats()["tenants"] == {"bad": {"dead": 10_000}, **{t: {"stored": 3000} for t in others}}
        assert parsec.get("/admin/audit")[1]["difference"] == 0


def test_no_tenant_sees_the_dead_letters_of_another(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", under("refusing"), **SETTINGS) as parsec:
        send(parsec, "acme", 30, range(10))
        send(parsec, "globex", 30, range(5))
        parsec.wait_processed()
        ours, theirs = dead(parsec, "acme"), dead(parsec, "globex")
        assert (len(ours), len(theirs)) == (10, 5)
        assert {each["tenant_id"] for each in ours} == {"acme"}
        assert {each["tenant_id"] for each in theirs} == {"globex"}
        for each in theirs:
            assert parsec.get(f"/deadletters/{each['position']}?tenant=acme")[0] == 404
            assert parsec.get(f"/deadletters/{each['position']}?tenant=-")[0] == 404
        _, page = parsec.get("/deadletters?tenant=globex&limit=2")
        status, problem = parsec.get(f"/deadletters?tenant=acme&limit=2&cursor={page['cursor']}")
        assert (status, problem["code"]) == (400, "invalid_cursor")
        assert dead(parsec, "-") == dead(parsec, "nobody") == []
