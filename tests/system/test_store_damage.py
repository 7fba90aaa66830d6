"""P6 for the store: one flipped bit in any of its files, and new events are stored, the rest is answered, the damage is
reported, and what was lost is stored again from the log, once."""

import re
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import damage
from tests.support.load import TENANT, event
from tests.support.process import Parsec
from tests.support.tampering import tamper

SETTINGS = {"PARSEC_DISK_RESERVE": "0", "PARSEC_PROCESS_LINGER_MS": "50"}
MERGED_PART = "merged part "
PARTS, EVENTS_PER_PART = 5, 40
WITHIN_S = 60.0
UNUSED = ("default_compression_codec.txt", "metadata_version.txt", "columns_substreams.txt", "deduplication_log_1.txt")
"""Most bits of these are not needed: without a loss nothing is reported."""


class Before(NamedTuple):
    """A stopped Parsec with five parts of events, the first of which was merged: a copy of its directory, all ids."""

    data_dir: Path
    copy: Path
    ids: frozenset[str]

    def restore(self) -> None:
        """The directory as it was."""
        shutil.rmtree(self.data_dir, ignore_errors=True)
        shutil.copytree(self.copy, self.data_dir, symlinks=True)

    def find(self, pattern: str) -> Path:
        """A file of the store by the end of its path, which may begin with `merged part`."""
        if pattern.startswith(MERGED_PART):
            (part,) = (path for path in (self.data_dir / "store").glob("store/*/*/20*_1") if path.is_dir())
            return part / pattern.removeprefix(MERGED_PART)
        return next(path for path in sorted((self.data_dir / "store").rglob("*")) if str(path).endswith(pattern))


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    data_dir = tmp_path_factory.mktemp("damage") / "data"
    batches = [[f"part-{part}-{n}" for n in range(EVENTS_PER_PART)] for part in range(PARTS + 1)]
    stored(data_dir, batches[:2])
    tamper(data_dir, "OPTIMIZE TABLE events FINAL")
    stored(data_dir, batches[2:])
    copy = data_dir.with_name("copy")
    shutil.copytree(data_dir, copy, symlinks=True)
    return Before(data_dir, copy, frozenset(one for batch in batches for one in batch))


def stored(data_dir: Path, batches: list[list[str]]) -> None:
    with Parsec(data_dir, **SETTINGS) as parsec:
        for batch in batches:
            assert parsec.ingest([event(one) for one in batch])[0] == 200
            parsec.wait_processed()
        assert parsec.terminate() == 0


def survives(before: Before, *, reported: bool) -> float:
    """Starts on the damaged directory; in how many seconds everything was well again."""
    began = time.monotonic()
    with Parsec(before.data_dir, **SETTINGS) as parsec:
        status, answer = parsec.ingest([event("new")])
        assert (status, answer["ack"]) == (200, "durable")
        everything = {*before.ids, "new"}
        while not (whole := holds(parsec, everything)) or (reported and not errors(parsec)):
            assert time.monotonic() - began < WITHIN_S, f"{whole=}\n{parsec.logs()[-6000:]}"
            time.sleep(0.1)
        took_s = time.monotonic() - began
        assert parsec.get("/admin/audit")[1]["difference"] == 0
        assert parsec.terminate() == 0
    assert "Traceback" not in parsec.logs()
    parsec.log_path.unlink()
    return took_s


def holds(parsec: Parsec, ids: set[str]) -> bool:
    """Whether all ids are there once and nothing is missing; an answer that lacks some says so."""
    status, page = parsec.get(f"/query/events?tenant={TENANT}&from=0&limit=10000")
    assert status in (200, 503), page
    if status == 503:
        return False
    found = Counter(one["id"] for one in page["events"])
    assert found.keys() <= ids
    assert set(found.values()) <= {1}, "an event is stored twice"
    # A new event may be on its way; the others are there, or the answer says that they are not.
    assert page["missing"] or found.keys() >= ids - {"new"}, "an answer lacks events and does not say so"
    return found.keys() == ids and not page["missing"]


def errors(parsec: Parsec) -> list[str]:
    return re.findall(
        r'"event": "[^"]*(?:damaged part|restored from its backup|copy of the store)[^"]*"', parsec.logs()
    )


SHORT = ("merged part data.bin", "events.sql", "merged part skp_idx_id_bloom.idx")
DOZEN = (
    "merged part data.cmrk4", "merged part primary.cidx", "merged part count.txt", "merged part columns.txt",
    "merged part checksums.txt", "merged part skp_idx_message_words.dct.idx", "format_version.txt",
    "metadata/parsec.sql", "tables.json",
)  # fmt: skip


def flip(before: Before, name: str) -> None:
    path = before.find(name)
    if path.name in ("events.sql", "parsec.sql"):  # a table's UUID that still parses
        damage.flip_bit_at(path, path.read_bytes().index(b"UUID '") + 10)
    elif path.name == "format_version.txt":
        path.write_text("9")
    else:
        damage.flip_bit_at(path, path.stat().st_size // 2)


@pytest.mark.parametrize("name", SHORT)
def test_a_flipped_bit_in_the_store_is_survived(before: Before, name: str) -> None:
    before.restore()
    flip(before, name)
    survives(before, reported=True)


@pytest.mark.integration
@pytest.mark.parametrize("name", DOZEN)
def test_a_flipped_bit_in_any_kind_of_file_of_the_store_is_survived(before: Before, name: str) -> None:
    before.restore()
    flip(before, name)
    survives(before, reported=True)
