"""Who sends without a key: shown before the first key is created, and served for a while with PARSEC_AUTH=warn."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from parsec.core.clock import SystemRandom
from parsec.keys.issue import Wanted, create
from tests.support.load import event
from tests.support.process import Parsec, eventually

FAST = {"PARSEC_DISK_RESERVE": "0", "PARSEC_PROCESS_LINGER_MS": "20"}


def keys_create(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "parsec", "keys", "create", "--data-dir", str(data_dir), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)


def metric(parsec: Parsec, key: str) -> float:
    _, _, text = parsec.request("GET", "/metrics", headers={"X-API-Key": key})
    return next(
        float(line.split()[1]) for line in text.splitlines() if line.startswith(b"parsec_http_keyless_requests")
    )


def test_the_first_key_is_asked_for_with_the_senders_that_it_shuts_out(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", **FAST) as parsec:
        agent = {"User-Agent": "agent/1.0"}
        for n in range(3):
            assert parsec.ingest([event(f"e-{n}", "acme"), event(f"f-{n}", "globex")], headers=agent)[0] == 200
        big = json.dumps([event(f"g-{n}", "large") for n in range(1000)]).encode()
        assert parsec.ingest(big, headers=agent)[0] == 200
        assert parsec.request("GET", "/query/events?tenant=asked", headers=agent)[0] == 200
        found = parsec.get("/admin/keyless")[1]
        shown = {(each["tenant"], each["user_agent"]): each["requests"] for each in found["senders"]}
        assert found["auth"] == "required"
        for tenant, requests in (("acme", 3), ("globex", 3), ("large", 1), ("asked", 1)):
            assert shown[tenant, "agent/1.0"] == requests
        assert {each["address"] for each in found["senders"]} == {"127.0.0.1"}

        refused = keys_create(parsec.data_dir, "--tenant", "acme")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "tenant globex, from 127.0.0.1, agent/1.0: 3 requests" in refused.stderr
        assert parsec.ingest([event("still")])[0] == 200
        created = keys_create(parsec.data_dir, "--scope", "admin", "--yes")
        assert created.returncode == 0
        eventually(lambda: parsec.ingest([event("late")])[0] == 401)
        assert parsec.get("/admin/keyless")[0] == 401
        asked = parsec.request("GET", "/admin/keyless", headers={"X-API-Key": created.stdout.strip()})
        assert asked[0] == 200
        assert keys_create(parsec.data_dir, "--tenant", "acme").returncode == 0
        assert parsec.terminate() == 0
    assert not (tmp_path / "data" / "url").exists()


def test_warn_serves_this_machine_without_a_key_and_counts_and_logs_it(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", PARSEC_AUTH="warn", **FAST) as parsec:
        admin = create(tmp_path / "data" / "keys.toml", Wanted(["admin"]), SystemRandom(), datetime.now(UTC))
        acme = create(tmp_path / "data" / "keys.toml", Wanted(["ingest"], "acme"), SystemRandom(), datetime.now(UTC))
        eventually(lambda: parsec.ingest([event("k")], headers={"X-API-Key": acme})[0] == 400)  # of another tenant
        before = metric(parsec, admin)
        for n in range(50):
            assert parsec.ingest([event(f"e-{n}", "globex")])[0] == 200
        assert parsec.request("GET", "/query/events?tenant=globex")[0] == 200
        assert metric(parsec, admin) - before == 51
        assert parsec.ingest([event("k", "acme")], headers={"X-API-Key": acme})[0] == 200
        assert parsec.ingest([event("k")], headers={"X-API-Key": acme[:-1] + "!"})[0] == 401
        assert parsec.request("GET", "/stats", headers={"X-API-Key": acme})[0] == 403
        assert parsec.request("POST", "/ingest", b"{}", {"Host": "evil.example"})[0] == 421
        assert parsec.request("GET", "/stats", headers={"Host": "logs.example", "X-API-Key": admin})[0] == 200
        lines = [line for line in parsec.logs().splitlines() if "without an API key was served" in line]
        assert 1 <= len(lines) <= 3
        assert parsec.terminate() == 0
