"""The log's small state is lost: what the store has already is not stored again."""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.load import TENANT, event
from tests.support.process import Parsec


@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_nothing_is_stored_twice(tmp_path: Path, how: str) -> None:
    with Parsec(tmp_path / "data", PARSEC_DISK_RESERVE="0") as parsec:
        for batch in range(30):
            assert parsec.ingest([event(f"e-{batch}-{n}") for n in range(50)])[0] == 200
        parsec.wait_processed()
        assert parsec.terminate() == 0
        for file in (tmp_path / "data").glob("state.db*"):
            if how == "removed":
                file.unlink()
            else:
                file.write_bytes(b"\xff" * 200 + file.read_bytes()[200:])
        parsec.start()
        assert parsec.ingest(event("after"))[0] == 200
        parsec.wait_processed()
        found = Counter(e["id"] for e in parsec.search(TENANT))
        assert (len(found), set(found.values())) == (1501, {1})
        assert parsec.stats()["ledger"]["difference"] == 0
        assert parsec.get("/admin/audit")[1]["difference"] == 0
        assert "will not be stored again" in parsec.logs()
