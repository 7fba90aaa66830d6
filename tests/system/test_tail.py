"""Live events from the real process."""

from pathlib import Path

import pytest

from tests.support.load import event
from tests.support.process import Parsec
from tests.support.tailing import Reader


def test_readers_see_what_comes_from_now_on_and_only_their_own(parsec: Parsec) -> None:
    assert parsec.ingest([event("before", "live")])[1]["accepted"] == 1
    parsec.wait_processed()
    with Reader(parsec.port, "live") as all_of_it, Reader(parsec.port, "live", "id:n-*3") as some:
        assert all_of_it.status == 200
        events = [event(f"n-{n}", "live") for n in range(20)] + [event("strange", "stranger")]
        assert parsec.ingest(events)[1]["accepted"] == 21
        all_of_it.wait(lambda reader: len(reader.events) >= 20)
        some.wait(lambda reader: len(reader.events) >= 2)
        found = {each["id"]: each for each in parsec.search("live")}
    assert [each["id"] for each in all_of_it.events] == [f"n-{n}" for n in range(20)]
    assert [each["id"] for each in some.events] == ["n-3", "n-13"]
    assert all(each == found[each["id"]] for each in all_of_it.events)
    assert (all_of_it.gaps, some.gaps) == ([], [])


@pytest.mark.parametrize(("query", "status", "code"), [
    ("q=x", 400, "missing_parameter"),
    ("tenant=a&q=(", 400, "invalid_query"),
    ("tenant=a&from=-1h", 400, "unknown_parameter"),
])  # fmt: skip
def test_a_bad_question_is_refused(parsec: Parsec, query: str, status: int, code: str) -> None:
    found, answer = parsec.get(f"/query/tail?{query}")
    assert (found, answer["code"]) == (status, code)


def test_a_stop_ends_readers_in_order(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", PARSEC_TAILS_PER_TENANT="2") as parsec:
        with Reader(parsec.port, "a") as one, Reader(parsec.port, "a"):
            status, answer = parsec.get("/query/tail?tenant=a")
            assert (status, answer["code"]) == (429, "too_many_tails")
            assert parsec.terminate(timeout_s=20) == 0, parsec.logs()[-4000:]
            one.wait(lambda reader: reader.complete)
            assert one.ended
        assert "Traceback" not in parsec.logs()
