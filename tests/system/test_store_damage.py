"""P6 for the store: one flipped bit in any of its files, and new events are stored, the rest is answered, the damage is
reported, and what was lost is stored again from the log, once."""

import re
import shutil
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from tests.support import damage, results
from tests.support.load import TENANT, event
from tests.support.process import Parsec
from tests.support.tampering import tamper

SETTINGS = {"PARSEC_DISK_RESERVE": "0", "PARSEC_PROCESS_LINGER_MS": "50"}
MERGED_PART = "merged part "
PARTS, EVENTS_PER_PART = 5, 40
WITHIN_S = 60.0
UNUSED = {
    "columns_substreams.txt", "deduplication_log.txt", "default_compression_codec.txt", "metadata_version.txt",
    "mutation.txt", "ttl.txt",
}  # fmt: skip
"""Most bits of these are not needed, or the engine writes the file anew: without a loss nothing is reported."""
SOAK_S = 1500.0


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


class Outcome(NamedTuple):
    """`well_after_s`: when everything was there again. `reported`: an ERROR line named the damage."""

    well_after_s: float
    reported: bool


def survives(before: Before, *, reported: bool = False) -> Outcome:
    """Starts on the damaged directory, and waits until everything is well again and all parts were checked. `reported`:
    an ERROR line has to name the damage."""
    began = time.monotonic()
    with Parsec(before.data_dir, **SETTINGS) as parsec:
        status, answer = parsec.ingest([event("new")])
        assert (status, answer["ack"]) == (200, "durable")
        everything = {*before.ids, "new"}
        while not (whole := holds(parsec, everything) and is_scrubbed(parsec)) or (reported and not errors(parsec)):
            assert time.monotonic() - began < WITHIN_S, f"{whole=}\n{parsec.logs()[-6000:]}"
            time.sleep(0.1)
        outcome = Outcome(time.monotonic() - began, bool(errors(parsec)))
        assert parsec.get("/admin/audit")[1]["difference"] == 0
        assert parsec.terminate() == 0
    assert "Traceback" not in parsec.logs()
    parsec.log_path.unlink()
    return outcome


def is_scrubbed(parsec: Parsec) -> bool:
    metrics = parsec.request("GET", "/metrics")[2].decode()
    return "parsec_store_scrub_last_pass_seconds 0.0" not in metrics


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


def places(data_dir: Path) -> list[tuple[Path, int]]:
    """A byte in each compressed block and each other file of the store."""
    found = []
    for path in sorted((data_dir / "store").rglob("*")):
        if path.is_symlink() or not path.is_file() or not path.stat().st_size or is_covered(path.parent):
            continue
        if path.suffix in (".txt", ".sql", ".json", ".dat") or path.name.startswith(("minmax_", "statistics")):
            found.append((path, path.stat().st_size // 2))
            continue
        blocks = [*damage.compressed_blocks(path), path.stat().st_size]
        found += [(path, (first + end) // 2) for first, end in pairwise(blocks)]
    return found


def is_covered(directory: Path) -> bool:
    """Whether it is a part that was merged into another one, so that nobody reads it."""
    span = blocks_of(directory)
    others = [other for other in map(blocks_of, directory.parent.iterdir()) if other is not None and other != span]
    return span is not None and any(
        other.partition == span.partition and other.first <= span.first and other.last >= span.last for other in others
    )


class Blocks(NamedTuple):
    """What a part's name says."""

    partition: str
    first: int
    last: int


def blocks_of(directory: Path) -> Blocks | None:
    """None: it is no part."""
    found = re.fullmatch(r"([^_]+)_(\d+)_(\d+)_\d+", directory.name)
    return Blocks(found[1], int(found[2]), int(found[3])) if found else None


@pytest.mark.soak
@pytest.mark.timeout(SOAK_S + 300)
def test_a_flipped_bit_in_each_block_and_each_file_of_the_store_is_survived(before: Before) -> None:
    """In random order, as many as the time allows."""
    before.restore()
    everywhere = places(before.data_dir)
    chance, end = Random(17), time.monotonic() + SOAK_S
    chance.shuffle(everywhere)
    slowest_s, tried, silent, failed = 0.0, Counter[str](), Counter[str](), list[str]()
    for path, byte in everywhere:
        if time.monotonic() > end:
            break
        before.restore()
        damage.flip_bit_at(path, byte, chance.randrange(8))
        try:
            outcome = survives(before)
        except AssertionError as error:
            failed.append(f"after a flipped bit at {byte} of {path.relative_to(before.data_dir)}: {error}"[:500])
            continue
        kind = re.sub(r"_\d+\.", ".", path.name)
        tried[kind] += 1
        silent[kind] += not outcome.reported
        slowest_s = max(slowest_s, outcome.well_after_s)
    unreported = {kind: count for kind, count in silent.items() if count}
    results.keep(
        "store_damage", "tests/system/test_store_damage.py", {
            "places": len(everywhere), "damaged": tried.total(), "failed": failed,
            "slowest_until_whole_s": round(slowest_s, 1), "by_file": dict(sorted(tried.items())),
            "without_effect_and_report": unreported,
        },
    )  # fmt: skip
    assert not failed
    assert unreported.keys() <= UNUSED
