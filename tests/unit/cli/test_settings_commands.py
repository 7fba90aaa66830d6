"""`parsec check-config`, the flags of `parsec serve`, and how quickly the command is there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from parsec import __version__
from parsec.cli import main
from parsec.cli.terminal import visible
from parsec.settings import catalogue


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner(env={"PARSEC_CONFIG": None, "PARSEC_PORT": None, **(env or {})}).invoke(main, list(arguments))


def test_each_value_comes_with_its_source(tmp_path: Path) -> None:
    config = tmp_path / "parsec.toml"
    config.write_text('port = 9000\nchannel-bytes = "1MiB"\nregion = "eu"\n')
    result = run(
        "check-config", "--config", str(config), "--region", "us", "--ingest-lenient", env={"PARSEC_PORT": "9001"}
    )
    assert result.exit_code == 0, result.output
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert len(rows) == len(catalogue())
    assert (rows["PARSEC_REGION"]["value"], rows["PARSEC_REGION"]["source"]) == ("us", "flag")
    assert (rows["PARSEC_PORT"]["value"], rows["PARSEC_PORT"]["source"]) == (9001, "environment")
    assert rows["PARSEC_CHANNEL_BYTES"] == {
        "name": "PARSEC_CHANNEL_BYTES",
        "value": 1 << 20,
        "shown": "1MiB",
        "source": f"file {config}",
    }
    assert rows["PARSEC_INGEST_LENIENT"]["value"] is True
    assert rows["KAFKA_BATCH_SIZE"]["source"] == "default"


def test_what_a_tenant_of_the_file_has_of_its_own_is_shown(tmp_path: Path) -> None:
    config = tmp_path / "parsec.toml"
    config.write_text('[tenants.acme]\nlimit-events-per-s = 0\nlimit-bytes-per-s = "1MiB"\n')
    rows = json.loads(run("check-config", "--config", str(config)).stdout)[len(catalogue()) :]
    assert [(row["name"], row["shown"], row["source"]) for row in rows] == [
        ("tenants.acme PARSEC_LIMIT_BYTES_PER_S", "1MiB", f"file {config}")
    ]


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    config = tmp_path / "parsec.toml"
    config.write_text("port = 9000\n")
    result = run("check-config", env={"PARSEC_CONFIG": str(config)})
    assert {row["name"]: row["value"] for row in json.loads(result.stdout)}["PARSEC_PORT"] == 9000


@pytest.mark.parametrize("command", ["check-config", "serve"])
def test_all_that_is_wrong_is_listed_line_by_line(command: str) -> None:
    result = run(command, "--port", "x", env={"PARSEC_CHANEL_BYTES": "1MiB"})
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "parsec: 2 settings are wrong:",
        "  PARSEC_CHANEL_BYTES: no such setting; did you mean PARSEC_CHANNEL_BYTES?",
        "  PARSEC_PORT='x' (flag): must be a number such as 100",
    ]


def test_serve_has_a_flag_for_every_setting() -> None:
    text = run("serve", "--help").stdout
    for setting in catalogue():
        assert f"  {setting.flag} " in text


@pytest.mark.parametrize("value", [[], ["=64KiB"]], ids=["alone", "with a value"])
def test_the_flag_of_a_former_setting_says_what_became_of_it(value: list[str]) -> None:
    result = run("serve", "".join(["--segment-bytes", *value]))
    assert result.exit_code == 2
    assert "  --segment-bytes is no longer a setting: log segments are 128 MiB" in result.stderr
    assert "--segment-bytes" not in run("serve", "--help").stdout


def test_a_flag_without_its_value_is_wrong_use() -> None:
    assert run("check-config", "--region").exit_code == 2


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_the_version_is_told(arguments: list[str]) -> None:
    assert run(*arguments).stdout.startswith(f"parsec {__version__}")


def test_help_does_not_wait_for_libraries_that_it_does_not_need() -> None:
    heavy = ["rich", "uvicorn", "starlette", "apsw", "clickhouse_connect", "chdb", "prometheus_client", "parsec.wiring"]
    code = (
        "import sys; from parsec.cli import main; main(['serve', '--help'], standalone_mode=False); "
        f"print('loaded:', [name for name in {heavy!r} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u00e9\u4e16\U0001f600 \\n", "plain \u00e9\u4e16\U0001f600 \\n"),
        ("a\tb\r\n\x00\x9b", "a\\tb\\r\\n\\x00\\x9b"),
        ("\u200b\u2028\U000e0001", "\\u200b\\u2028\\U000e0001"),
    ],
)
def test_what_would_not_be_seen_is_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_no_secret_is_in_check_config() -> None:
    secrets = [setting for setting in catalogue() if setting.spec.secret]
    canaries = {setting.env: "canary=bird" for setting in secrets}
    result = run("check-config", env=canaries | {"PARSEC_KAFKA_OPTIONS": "security.protocol=sasl_ssl,canary=bird"})
    assert result.exit_code == 0, result.output
    assert "canary" not in result.output
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert all(rows[setting.env]["shown"] == "(hidden)" for setting in secrets)
    assert len(secrets) >= 4


def test_a_former_flag_is_not_suggested() -> None:
    result = run("check-config", "--kafka-broker", "x")
    assert result.exit_code == 2
    assert "--kafka-brokers" in result.output
    assert "--kafka-user" not in result.output
    assert "--kafka-key" not in result.output
