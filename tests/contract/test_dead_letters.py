"""What parsec.query.sql.dead_letters asks of the embedded store, with real letters."""

from collections.abc import Iterator

import pytest

from parsec.adapters.store.clickhouse import ClickHouseStore
from parsec.api.parameters import NO_TENANT
from parsec.api.query import DeadLetterSummary
from parsec.core.errors import Rejected
from parsec.ports.store import DeadLetter, StoreReader
from parsec.query.sql.dead_letters import DeadLetterPageRequest, dead_letter_page, find_dead_letter
from parsec.query.timerange import TimeRange
from tests.support.stored import ALL_TIMES
from tests.support.stores import LIMITS, embedded_store


def dead(offset: int, tenant: str, raw: bytes = b"{}", reason: str = "invalid_json") -> DeadLetter:
    return DeadLetter("log-1", 0, offset, tenant, reason, f"broken at {offset}", raw)


@pytest.fixture(scope="module")
def store() -> Iterator[ClickHouseStore]:
    """Ten letters of acme, one of them kept twice; one of a stranger's; one of nobody's."""
    with embedded_store() as (opened, _):
        opened.insert_dead_letters(
            [dead(n, "acme", reason=("invalid_json", "store_refused")[n % 2]) for n in range(10)]
        )
        opened.insert_dead_letters([dead(3, "acme", b'{"n":3}', "store_refused")])
        opened.insert_dead_letters([dead(20, "stranger", b"secret"), dead(21, "", b"\xff\x00")])
        yield opened


@pytest.fixture
def reader(store: ClickHouseStore) -> StoreReader:
    return store.reader()


def test_pages_give_each_position_once_though_one_was_kept_twice(reader: StoreReader) -> None:
    found: list[DeadLetterSummary] = []
    cursor = None
    while True:
        page = dead_letter_page(reader, DeadLetterPageRequest("acme", ALL_TIMES, 3, cursor=cursor), LIMITS)
        found += page.dead_letters
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(each.position for each in found) == [f"log-1/0/{n}" for n in range(10)]
    assert [each.time for each in found] == sorted((each.time for each in found), reverse=True)
    assert {each.tenant_id for each in found} == {"acme"}


def test_a_reason_narrows_and_belongs_to_the_cursor(reader: StoreReader) -> None:
    page = dead_letter_page(reader, DeadLetterPageRequest("acme", ALL_TIMES, 2, "store_refused"), LIMITS)
    assert [each.reason for each in page.dead_letters] == ["store_refused"] * 2
    with pytest.raises(Rejected, match="another query"):
        dead_letter_page(reader, DeadLetterPageRequest("acme", ALL_TIMES, 2, "", page.cursor), LIMITS)
    with pytest.raises(Rejected):
        dead_letter_page(reader, DeadLetterPageRequest("stranger", ALL_TIMES, 2, "store_refused", page.cursor), LIMITS)


def test_a_range_that_ends_before_them_holds_none(reader: StoreReader) -> None:
    assert dead_letter_page(reader, DeadLetterPageRequest("acme", TimeRange(0, 1), 10), LIMITS).dead_letters == []


def test_the_bytes_come_back_as_they_were(reader: StoreReader) -> None:
    text = find_dead_letter(reader, "acme", "log-1", 0, 3, LIMITS)
    assert text is not None
    assert (text.raw, text.raw_base64, text.raw_bytes) == ('{"n":3}', None, 7)
    binary = find_dead_letter(reader, NO_TENANT, "log-1", 0, 21, LIMITS)
    assert binary is not None
    assert (binary.raw, binary.raw_base64) == (None, "/wA=")


def test_a_letter_is_shown_to_its_tenant_alone(reader: StoreReader) -> None:
    assert find_dead_letter(reader, "acme", "log-1", 0, 20, LIMITS) is None
    assert find_dead_letter(reader, "acme", "log-1", 0, 21, LIMITS) is None
    assert find_dead_letter(reader, "stranger", "log-1", 0, 20, LIMITS) is not None
    assert [
        each.position
        for each in dead_letter_page(reader, DeadLetterPageRequest(NO_TENANT, ALL_TIMES, 9), LIMITS).dead_letters
    ] == ["log-1/0/21"]
