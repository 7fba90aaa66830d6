"""schemathesis asks the real process everything that openapi.yaml allows, and much that it does not.

All its checks are on: no 500, no undocumented status, media type, header or shape, wrong data refused, right data
taken, keys asked for. tests/support/contract_hooks.py says what the document cannot.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from parsec import __version__
from parsec.cli import main
from parsec.web.openapi.endpoints import OPERATIONS
from tests.support.contract_hooks import SEEDED
from tests.support.load import event
from tests.support.process import Parsec

ROOT = Path(__file__).parents[2]
NEVER_ENDS = "/query/tail"
"""Its answer goes on; tests/system/test_tail.py reads it."""


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Parsec, str]]:
    """A Parsec with a key for everything of one tenant, and events of it."""
    made = CliRunner().invoke(
        main, ["keys", "create", "--tenant", "acme", "--scope", "ingest,query,admin", "--data-dir", str(tmp_path / "d")]
    )
    key = made.stdout.strip()
    assert key.startswith("parsec_"), made.output
    with Parsec(tmp_path / "d", PARSEC_DISK_RESERVE="0", PARSEC_PROCESS_LINGER_MS="50") as parsec:
        events = [event(name, "acme", "two words") | {"metadata": {"n": n}} for n, name in enumerate(SEEDED)]
        assert parsec.ingest(events, headers={"X-API-Key": key})[1]["accepted"] == len(SEEDED)
        yield parsec, key
        assert parsec.terminate() == 0, parsec.logs()[-4000:]


def fuzzed(parsec: Parsec, key: str, seconds: int, tmp_path: Path, *more: str) -> dict[str, int]:
    """How much was asked; fails on any failure."""
    report = tmp_path / "report.xml"
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "tests/support/schemathesis.toml"),
        "--no-color", "run", str(ROOT / "openapi.yaml"), "--url", f"http://127.0.0.1:{parsec.port}",
        "--header", f"Authorization: Bearer {key}", "--checks", "all", "--max-time", str(seconds),
        "--exclude-path", NEVER_ENDS, "--report-junit-path", str(report), *more,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, cwd=tmp_path, env=environment)
    told = "\n".join(line[:500] for line in (run.stdout + run.stderr).replace(key, "(key)").splitlines())
    assert run.returncode == 0, told
    assert "Traceback" not in parsec.logs(), parsec.logs()[-8000:]
    assert key not in parsec.logs()
    tested = {case.get("name", "") for case in ElementTree.parse(report).iter("testcase")}  # noqa: S314 (ours)
    expected = {f"{each.endpoint.method.upper()} {each.endpoint.path}" for each in OPERATIONS} - {f"GET {NEVER_ENDS}"}
    assert expected <= tested, told
    found = next(line for line in run.stdout.splitlines() if " generated" in line)
    return {"cases": int(found.split()[0].replace(",", "")), "operations": len(expected)}


@pytest.mark.integration
@pytest.mark.timeout(240)
def test_a_minute_of_schemathesis_finds_nothing(guarded: tuple[Parsec, str], tmp_path: Path) -> None:
    assert fuzzed(*guarded, 60, tmp_path, "--seed", "1")["cases"] > 500


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_ten_minutes_of_schemathesis_find_nothing(guarded: tuple[Parsec, str], tmp_path: Path) -> None:
    found = fuzzed(*guarded, 600, tmp_path)
    assert found["cases"] > 5_000
    result = {"at": f"{datetime.now(UTC):%Y-%m-%d}", "version": __version__, "seconds": 600, "failures": 0, **found}
    (ROOT / "bench" / "results" / "contract_fuzz.json").write_text(json.dumps(result, indent=2) + "\n")
