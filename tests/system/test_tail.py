"""Live events from the real process."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.load import event
from tests.support.process import Parsec
from tests.support.sabotaged import under
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


def readers(parsec: Parsec) -> int:
    """How many there are, as the metrics say."""
    _, text = parsec.get("/metrics")
    return next(
        int(float(line.split()[1])) for line in text.decode().splitlines() if line.startswith("parsec_tail_rea")
    )


@pytest.mark.integration
def test_fifty_readers_get_all_and_a_stuck_one_is_told_what_it_missed(tmp_path: Path) -> None:
    size, asked = 40_000, [f"id:k-*{n % 10}" for n in range(48)]
    with (
        Parsec(tmp_path / "data", under(TAIL_BYTES=4 << 20), PARSEC_CHANNEL_EVENTS="100000") as parsec,
        ExitStack() as held,
    ):
        stuck = held.enter_context(Reader(parsec.port, "k", stuck=True))
        whole = held.enter_context(Reader(parsec.port, "k"))
        some = [held.enter_context(Reader(parsec.port, "k", q)) for q in asked]
        assert readers(parsec) == 50
        parsec.ingest([event(f"w-{n}", "k") for n in range(5000)])
        parsec.wait_processed()
        before = parsec.resident_bytes()
        for first in range(0, size, 5000):
            status, answer = parsec.ingest([event(f"k-{n}", "k") for n in range(first, first + 5000)])
            assert (status, answer["accepted"]) == (200, 5000)
        parsec.wait_processed()
        for reader in some:
            reader.wait(lambda reader: len(reader.events) + reader.skipped() >= size // 10, timeout_s=60)
        whole.wait(lambda reader: len(reader.events) + reader.skipped() >= size + 5000, timeout_s=60)
        assert parsec.resident_bytes() - before < 150 << 20
        stuck.read()
        stuck.wait(lambda reader: len(reader.events) + reader.skipped() >= size + 5000, timeout_s=60)
    assert stuck.gaps, "the test is too small: nothing was missed"
    assert len(stuck.events) + stuck.skipped() == size + 5000
    assert stuck.events[-1]["id"] == f"k-{size - 1}"
    for reader, q in zip(some, asked, strict=True):
        expected = [f"k-{n}" for n in range(int(q[-1]), size, 10)]
        assert reader.gaps == []
        assert [each["id"] for each in reader.events] == expected


def test_a_reader_that_leaves_makes_room(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", under(TAILS=1)) as parsec:
        for _ in range(3):
            with Reader(parsec.port, "a") as reader:
                assert reader.status == 200
                assert parsec.get("/query/tail?tenant=b")[0] == 429
            while readers(parsec):
                pass


def test_a_stop_ends_readers_in_order(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", under(TAILS_PER_TENANT=3)) as parsec:
        with Reader(parsec.port, "a") as one, Reader(parsec.port, "a"), Reader(parsec.port, "a", stuck=True):
            status, answer = parsec.get("/query/tail?tenant=a")
            assert (status, answer["code"]) == (429, "too_many_tails")
            for first in range(0, 40_000, 5000):  # more than any buffer on the way to the stuck one
                assert parsec.ingest([event(f"a-{n}", "a") for n in range(first, first + 5000)])[0] == 200
            parsec.wait_processed()
            one.wait(lambda reader: len(reader.events) + reader.skipped() >= 40_000)
            assert parsec.terminate(timeout_s=20) == 0, parsec.logs()[-4000:]
            one.wait(lambda reader: reader.complete)
            assert one.ended
        assert "Traceback" not in parsec.logs()
