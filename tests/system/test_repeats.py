"""Clients that send an event more than once, to the real process: one copy, and a count of the others."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.load import TENANT, event
from tests.support.process import Parsec

pytestmark = pytest.mark.integration


def stored(parsec: Parsec) -> Counter[str]:
    """How often each id is in the store, once all is processed."""
    parsec.wait_processed()
    return Counter(str(one["id"]) for one in parsec.search(TENANT))


def post(parsec: Parsec, body: bytes) -> int:
    return parsec.request("POST", "/ingest", body)[0]


def test_a_request_that_is_sent_twice_is_stored_once(tmp_path: Path) -> None:
    bodies = [json.dumps([event(f"evt-{k}-{n}") for n in range(100)]).encode() for k in range(20)]
    with Parsec(tmp_path / "data") as parsec:
        with ThreadPoolExecutor(8) as clients:
            assert set(clients.map(lambda body: post(parsec, body), bodies * 2)) == {200}
        copies = stored(parsec)
        assert len(copies) == 2000
        assert set(copies.values()) == {1}
        parsec.kill()
    with Parsec(tmp_path / "data") as parsec:  # the claims are made anew from the store
        assert [post(parsec, body) for body in bodies] == [200] * 20
        assert set(stored(parsec).values()) == {1}
        ledger = parsec.stats()["ledger"]
        assert (ledger["stored"], ledger["duplicate"], ledger["difference"]) == (2000, 4000, 0)


def test_after_the_window_an_id_is_a_new_event(tmp_path: Path) -> None:
    body = json.dumps([event(f"evt-{n}") for n in range(10)]).encode()
    with Parsec(tmp_path / "data", PARSEC_DEDUP_WINDOW="1s") as parsec:
        copies = stored(parsec)
        for n in range(500):  # the window is counted in times of receipt, so that new events move it on
            assert post(parsec, json.dumps(event(f"later-{n}")).encode()) == 200
            assert post(parsec, body) == 200
            copies = stored(parsec)
            if copies["evt-0"] > 1:
                break
        assert copies["evt-0"] == 2
        assert copies["later-0"] == 1


def test_equal_lines_without_ids_are_all_stored(tmp_path: Path) -> None:
    one = event("")
    del one["id"]
    body = b"\n".join([json.dumps(one).encode()] * 50)
    with Parsec(tmp_path / "data") as parsec:
        assert post(parsec, body) == 200
        assert post(parsec, body) == 200
        copies = stored(parsec)
        assert len(copies) == 50
        assert set(copies.values()) == {1}


def test_other_content_under_an_id_is_stored_once_and_told(tmp_path: Path) -> None:
    first = [event(f"evt-{n}", message="the first") for n in range(3)]
    second = [one | {"message": "another"} for one in first[:2]]
    with Parsec(tmp_path / "data") as parsec:
        assert post(parsec, json.dumps(first).encode()) == 200
        assert set(stored(parsec).values()) == {1}
        assert parsec.stats()["dedup"]["conflicts"] == 0
        assert post(parsec, json.dumps([*second, first[2]]).encode()) == 200
        assert set(stored(parsec).values()) == {1}
        assert {one["message"] for one in parsec.search(TENANT)} == {"the first"}
        stats = parsec.stats()
        assert (stats["ledger"]["duplicate"], stats["dedup"]["conflicts"]) == (3, 2)
        assert b"parsec_dedup_conflict_events_total 2.0" in parsec.get("/metrics")[1]
        assert "Events were sent again under the same id with other content" in parsec.logs()
