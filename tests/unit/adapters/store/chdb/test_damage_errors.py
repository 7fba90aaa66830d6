"""Which errors of the engine mean damage, which may, which never; and the parts that they name."""

import pytest

from parsec.adapters.store.chdb.damage_errors import is_certain, is_limit, named_parts, shortened

UUID = "d74ee91c-a9b6-4e22-a62c-f57725a6ae72"
PART = f"/var/lib/my data/store/store/d74/{UUID}/20261130_1_2_1"


@pytest.mark.parametrize(
    ("text", "certain", "limit"),
    [
        ("Code: 40. DB::Exception: Checksum doesn't match: corrupted data.", True, False),
        ("Code: 246. DB::Exception: Bad data", True, False),
        ("Code: 271. DB::Exception: Cannot decompress", True, False),
        ("Code: 432. DB::Exception: Unknown codec family code: 7", True, False),
        ("Code: 49. DB::Exception: Cannot get position for substream", False, False),
        ("Code: 117. DB::Exception: Invalid type for SerializationLowCardinality", False, False),
        ("Code: 107. DB::Exception: File does not exist", False, False),
        ("Code: 241. DB::Exception: would use 2.1 GiB (attempt to allocate chunk of 4.00 MiB)", False, True),
        ("Code: 241. DB::Exception: would use 4.00 EiB (attempt to allocate chunk of 4.00 EiB)", False, False),
        ("Code: 173. DB::Exception: Cannot allocate memory", False, True),
        ("Code: 159. DB::Exception: Timeout exceeded", False, True),
        ("Code: 394. DB::Exception: Query was cancelled", False, True),
        ("Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space", False, True),
        ("Code: 76. DB::Exception: Cannot open file, errno: 24, strerror: Too many open files", False, True),
        ("Code: 74. DB::Exception: Cannot read from file, errno: 5, strerror: Input/output error", False, False),
        ("Code: 74. DB::Exception: Cannot read from file, errno: 24", False, True),
        ("[Errno 28] No space left on device", False, True),
    ],
)  # fmt: skip
def test_kinds_of_errors(text: str, *, certain: bool, limit: bool) -> None:
    assert is_certain(text) == certain
    assert is_limit(text) == limit


@pytest.mark.parametrize(
    "text",
    [
        f"Code: 40. (while reading from part {PART}/ in table parsec.events ({UUID}) located on disk default)",
        f"Code: 40. While reading or decompressing {PART}/primary.cidx (position: 60, typename: X)",
        f"Code: 107. File '{PART}/data.bin' does not exist",
        f"Code: 40. {PART}/a.bin and again {PART}/b.bin",
    ],
)
def test_the_part_is_found_in_every_form(text: str) -> None:
    assert list(named_parts(text)) == [(UUID, "20261130_1_2_1")]


def test_other_names_are_no_parts() -> None:
    assert not list(named_parts("Code: 40. Checksum doesn't match in /var/lib/events_1_2_3/data.bin"))
    assert list(named_parts(f"/store/d74/{UUID}/all_1_5_1_9/count.txt")) == [(UUID, "all_1_5_1_9")]
    assert not list(named_parts(f"/store/d74/{UUID}/deduplication_logs/deduplication_log_1.txt"))


def test_a_long_error_keeps_its_end_which_names_the_file() -> None:
    assert shortened("x" * 700 + PART).endswith(PART)
    assert len(shortened("x" * 5000)) < 700
    assert shortened("short") == "short"
