"""An answer that lacks something says so, in every form."""

import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from parsec.web.export import PAGE_EVENTS
from tests.support.load import event
from tests.support.process import Parsec
from tests.support.sabotaged import under

ADDRESSES = (
    "/query/events?tenant=p&from=0", "/query/histogram?tenant=p&from=0", "/query/aggregate?tenant=p&from=0",
    "/query/fields?tenant=p&from=0", "/query/fields/source/values?tenant=p&from=0", "/query/events/p-1?tenant=p",
    "/query/events/p-1/context?tenant=p",
)  # fmt: skip


def missing(parsec: Parsec) -> list[Any]:
    """What each address says is missing; the forms of events say the same."""
    answers = [parsec.get(path)[1]["missing"] for path in ADDRESSES]
    for form in ("ndjson", "csv", "ndjson&limit=1"):
        _, headers, _ = parsec.request("GET", f"{ADDRESSES[0]}&format={form}")
        answers.append(json.loads(headers["parsec-missing"]))
    return answers


def test_a_part_of_the_store_that_was_damaged_is_missed_in_every_answer(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", under("unrepaired")) as parsec:
        for n in range(2):  # two parts, of which one is damaged
            assert parsec.ingest([event(f"p-{n}", "p")])[1]["accepted"] == 1
            parsec.wait_processed()
        assert missing(parsec) == [[]] * (len(ADDRESSES) + 3)
        assert parsec.terminate() == 0
        part = sorted((tmp_path / "data" / "store").rglob("*_1_1_0/data.bin"))
        assert part, "the first part is not where it should be"
        for file in part:
            file.write_bytes(b"\0" * 10)
        parsec.start()
        parsec.wait_processed()
        told = missing(parsec)
        assert all(any("detached" in each for each in answer) for answer in told), told
        assert [each["id"] for each in parsec.search("p")] == ["p-1"]


def test_what_nobody_stores_is_missed_in_every_answer(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data") as parsec:
        assert parsec.ingest([event(f"p-{n}", "p") for n in range(3)])[1]["accepted"] == 3
        parsec.wait_processed()
        assert parsec.terminate() == 0
    with Parsec(tmp_path / "data", under=under("idle")) as parsec:
        assert parsec.ingest([event(f"q-{n}", "p") for n in range(3)])[1]["accepted"] == 3
        assert len(parsec.search("p")) == 3
        told = missing(parsec)
        assert [["not stored yet" in each for each in answer] for answer in told] == [[True]] * len(told), told


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_lines_that_end_early_are_no_whole_body_to_any_client(tmp_path: Path, form: str) -> None:
    with Parsec(tmp_path / "data", under=under("torn")) as parsec:
        assert parsec.ingest([event(f"p-{n}", "p") for n in range(PAGE_EVENTS + 1)])[1]["accepted"] == PAGE_EVENTS + 1
        parsec.wait_processed()
        with pytest.raises(http.client.IncompleteRead) as caught:
            parsec.request("GET", f"{ADDRESSES[0]}&format={form}")
        assert caught.value.partial.count(b"\n") in (PAGE_EVENTS, PAGE_EVENTS + 1)  # CSV has a line of names
        status, _, body = parsec.request("GET", f"{ADDRESSES[0]}&format={form}&limit={PAGE_EVENTS}")
        assert (status, body) == (200, caught.value.partial)
