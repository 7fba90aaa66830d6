"""What the engine made at the path of a store that moved away, and what only looks like it."""

from pathlib import Path

from parsec.adapters.store.chdb.remade import remove_remade


def test_it_is_removed_with_the_directory_around_it(tmp_path: Path) -> None:
    (tmp_path / "data" / "store" / "store" / "abc" / "uuid" / "all_1_1_0").mkdir(parents=True)
    (tmp_path / "data" / "store" / "store" / "abc" / "uuid" / "all_1_1_0" / "data.bin").touch()
    remove_remade(tmp_path / "data" / "store")
    assert list(tmp_path.iterdir()) == []
    remove_remade(tmp_path / "data" / "store")


def test_a_directory_with_anything_else_in_it_stays(tmp_path: Path) -> None:
    (tmp_path / "data" / "store" / "store" / "abc").mkdir(parents=True)
    (tmp_path / "data" / "state.db").touch()
    remove_remade(tmp_path / "data" / "store")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["state.db"]


def test_a_store_stays(tmp_path: Path) -> None:
    for name in ("store/abc", "metadata"):
        (tmp_path / "data" / "store" / name).mkdir(parents=True)
    (tmp_path / "data" / "empty").mkdir()
    before = sorted(tmp_path.rglob("*"))
    remove_remade(tmp_path / "data" / "store")
    remove_remade(tmp_path / "data" / "empty")
    assert sorted(tmp_path.rglob("*")) == before
