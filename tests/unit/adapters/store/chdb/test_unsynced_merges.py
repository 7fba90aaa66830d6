"""Which merged parts are set aside when the machine was started anew: those whose sources are all there."""

from pathlib import Path

import pytest

from parsec.adapters.store.chdb.unsynced_merges import BOOT_FILE, listed_files, use_sources

UNLISTED = ("columns.txt", "columns_substreams.txt", "default_compression_codec.txt", "metadata_version.txt")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    table = tmp_path / "store" / "abc" / "abc-1"
    table.mkdir(parents=True)
    return table


def checksums(sizes: dict[str, int]) -> bytes:
    """As the engine writes it, with literals alone."""
    plain = bytes([len(sizes)])
    for name, size in sizes.items():
        assert size < 128
        plain += bytes([len(name)]) + name.encode() + bytes([size]) + bytes(16) + b"\0"
    rest, more = divmod(len(plain) - 15, 255)
    block = b"\xf0" + b"\xff" * rest + bytes([more]) + plain
    head = b"\x82" + (len(block) + 9).to_bytes(4, "little") + len(plain).to_bytes(4, "little")
    return b"checksums format version: 4\n" + bytes(16) + head + block


def part(table: Path, name: str, rows: int) -> Path:
    directory = table / name
    directory.mkdir()
    files = {"count.txt": str(rows).encode(), "data.bin": b"d" * 20}
    for file, content in files.items():
        (directory / file).write_bytes(content)
    for file in UNLISTED:
        (directory / file).write_bytes(b"x")
    (directory / "checksums.txt").write_bytes(checksums({file: len(content) for file, content in files.items()}))
    return directory


def left(table: Path) -> set[str]:
    return {path.name for path in table.iterdir() if not path.name.startswith("delete_tmp_")}


def test_a_merge_of_merges_gives_way_to_the_inserted_parts(tmp_path: Path, table: Path) -> None:
    for name, rows in {"20261130_1_1_0": 5, "20261130_2_2_0": 6, "20261130_3_3_0": 7}.items():
        part(table, name, rows)
    part(table, "20261130_1_2_1", 11)
    part(table, "20261130_1_3_2", 18)
    part(table, "20261129_1_3_2", 18)
    use_sources(tmp_path)
    assert left(table) == {"20261130_1_1_0", "20261130_2_2_0", "20261130_3_3_0", "20261129_1_3_2"}
    assert {path.name for path in table.iterdir()} - left(table) == {
        "delete_tmp_20261130_1_2_1",
        "delete_tmp_20261130_1_3_2",
    }


@pytest.mark.parametrize("file", ["count.txt", "data.bin", "checksums.txt"])
def test_an_unsynced_merge_of_an_unsynced_merge_gives_way_too(tmp_path: Path, table: Path, file: str) -> None:
    for name, rows in {"20261130_1_1_0": 5, "20261130_2_2_0": 6, "20261130_3_3_0": 7}.items():
        part(table, name, rows)
    (part(table, "20261130_1_2_1", 11) / file).write_bytes(b"")
    part(table, "20261130_1_3_2", 18)
    use_sources(tmp_path)
    assert "20261130_1_3_2" not in left(table)


@pytest.mark.parametrize("gone", ["count.txt", "data.bin", "checksums.txt", *UNLISTED])
def test_sources_that_are_being_removed_are_not_used(tmp_path: Path, table: Path, gone: str) -> None:
    part(table, "20261130_1_1_0", 5)
    (part(table, "20261130_2_2_0", 6) / gone).unlink()
    part(table, "20261130_1_2_1", 11)
    use_sources(tmp_path)
    assert "20261130_1_2_1" in left(table)


def test_a_source_that_is_short_or_gone_is_not_used(tmp_path: Path, table: Path) -> None:
    (part(table, "20261130_1_1_0", 5) / "data.bin").write_bytes(b"short")
    part(table, "20261130_1_2_1", 5)
    part(table, "20261130_4_4_0", 1)
    part(table, "20261130_4_5_1", 2)
    use_sources(tmp_path)
    assert left(table) == {"20261130_1_1_0", "20261130_1_2_1", "20261130_4_4_0", "20261130_4_5_1"}


def test_what_covers_a_dropped_or_changed_part_stays(tmp_path: Path, table: Path) -> None:
    part(table, "20261130_1_1_0", 5)
    part(table, "20261130_1_1_1", 0)  # in place of a dropped part
    part(table, "20261130_2_2_0", 5)
    part(table, "20261130_2_2_0_7", 5)  # a mutation
    part(table, "20261130_3_3_0", 2)
    part(table, "20261130_1_3_2", 7)  # made without the dropped one
    use_sources(tmp_path)
    assert left(table) == {
        "20261130_1_1_0",
        "20261130_1_1_1",
        "20261130_2_2_0",
        "20261130_2_2_0_7",
        "20261130_3_3_0",
    }


def test_it_is_done_once_for_each_start_of_the_machine(tmp_path: Path, table: Path) -> None:
    use_sources(tmp_path)
    part(table, "20261130_1_1_0", 5)
    part(table, "20261130_1_1_1", 5)
    use_sources(tmp_path)
    assert left(table) == {"20261130_1_1_0", "20261130_1_1_1"}
    (tmp_path / BOOT_FILE).write_bytes(bytes(16))
    use_sources(tmp_path)
    assert left(table) == {"20261130_1_1_0"}


def test_a_second_power_cut_may_bring_back_what_was_set_aside(tmp_path: Path, table: Path) -> None:
    part(table, "20261130_1_1_0", 5)
    part(table, "20261130_1_1_1", 5)
    part(table, "delete_tmp_20261130_1_1_1", 5)
    use_sources(tmp_path)
    assert left(table) == {"20261130_1_1_0"}


def test_sizes_are_read_through_the_compression_of_repeated_names() -> None:
    plain = b"\2\10abcabca1\5" + bytes(17) + b"\10abcabca2\x81\1" + bytes(16) + b"\1\7" + bytes(16)
    # "\2\10abc", then 4 bytes from 3 back ("abca"), then the rest as literals
    rest = plain[9:]
    block = b"\x50" + plain[:5] + b"\3\0" + bytes([0xF0, len(rest) - 15]) + rest
    head = b"\x82" + (len(block) + 9).to_bytes(4, "little") + len(plain).to_bytes(4, "little")
    assert listed_files(b"checksums format version: 4\n" + bytes(16) + head + block) == {"abcabca1": 5, "abcabca2": 129}


@pytest.mark.parametrize("text", [b"checksums format version: 5\n", b"checksums format version: 4\n" + bytes(40), b""])
def test_an_unknown_list_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError, match="list of checksums"):
        listed_files(text)
