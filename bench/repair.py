"""What a second copy costs and how fast it heals: bytes of an event in log and store; `store/` deleted, stored again.

python bench/repair.py [--runs 1] [--json FILE] [--events 300000]
"""

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from _running import Parsec, load, medians, parsec, publish

SETTLE_S = 40.0
"""The engine merges, and removes the sources of merges half a minute later."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--events", type=int, default=300_000)
    given = parser.parse_args()
    publish(
        {f"{given.events:,} varied events": medians([one_run(given.events) for _ in range(given.runs)])}, given.json
    )


def one_run(events: int) -> dict[str, Any]:
    with parsec(PARSEC_DISK_RESERVE="0") as running:
        load(running, "--count", str(events))
        running.wait_processed(300)
        stored = running.stats()["ledger"]["stored"]
        time.sleep(SETTLE_S)
        sizes = {name: size_of(running.data_dir / name) / stored for name in ("segments", "store")}
        running.kill()
        shutil.rmtree(running.data_dir / "store")
        began = time.monotonic()
        running.start()
        ready_s = time.monotonic() - began
        load(running, "--rate", "2000", "--duration", "3")
        wait_whole(running)
        again_s = time.monotonic() - began
        assert running.get("/admin/audit")[1]["difference"] == 0
    return {
        "log_bytes_per_event": sizes["segments"], "store_bytes_per_event": sizes["store"], "ready_s": ready_s,
        "stored_again_s": again_s, "events_per_s": stored / again_s,
    }  # fmt: skip


def wait_whole(running: Parsec) -> None:
    while "All that was missing" not in running.logs():
        time.sleep(0.05)
        if running.process.poll() is not None:
            sys.exit(running.logs()[-2000:])


def size_of(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file() and not file.is_symlink())


if __name__ == "__main__":
    main()
