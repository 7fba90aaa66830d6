"""SIGHUP: what it reloads, what it leaves, and that it ends nothing."""

import json
import signal
from datetime import UTC, datetime
from pathlib import Path

from parsec.core.clock import SystemRandom
from parsec.keys.issue import Wanted, create
from tests.support.load import event
from tests.support.process import Parsec, eventually


def lines(parsec: Parsec, words: str) -> list[dict[str, object]]:
    found = [json.loads(line) for line in parsec.logs().splitlines() if line.startswith("{")]
    return [line for line in found if words in line["event"]]


def test_sighup_reloads_keys_and_limits_and_says_what_needs_a_restart(tmp_path: Path) -> None:
    config = tmp_path / "parsec.toml"
    config.write_text("limit-events-per-s = 100000\n")
    with Parsec(tmp_path / "data", PARSEC_CONFIG=str(config), PARSEC_DISK_RESERVE="0") as parsec:

        def hang_up() -> None:
            before = len(lines(parsec, "were loaded again"))
            parsec.process.send_signal(signal.SIGHUP)
            eventually(lambda: len(lines(parsec, "were loaded again")) > before)

        hang_up()
        assert parsec.ingest([event("a")])[0] == 200
        config.write_text("limit-events-per-s = 1\nregion = 'north'\n[tenants.big]\nlimit-events-per-s = 0\n")
        hang_up()
        assert lines(parsec, "Tenant limits reloaded")[-1]["changed"] == ["(default)", "big"]
        assert lines(parsec, "need a restart")[0]["settings"] == ["PARSEC_REGION"]
        config.write_text("limit-events-per-s = nonsense\n")
        hang_up()
        faults = lines(parsec, "The settings file has faults")[-1]
        assert (faults["level"], "is not TOML" in str(faults["faults"])) == ("error", True)
        key = create(tmp_path / "data" / "keys.toml", Wanted(["admin"]), SystemRandom(), datetime.now(UTC))
        hang_up()
        assert parsec.request("GET", "/stats")[0] == 401
        assert parsec.request("GET", "/stats", headers={"X-API-Key": key})[0] == 200
        assert key.split("_")[1] in str([line["new"] for line in lines(parsec, "API keys reloaded")])
        assert parsec.terminate() == 0
