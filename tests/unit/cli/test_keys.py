"""`parsec keys`, as a script uses it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from parsec.cli import main
from parsec.keys.key import name_of


class Keys:
    """The command on a directory of its own, with an environment in which the server would not start."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._runner = CliRunner(
            env={"PARSEC_HOST": "192.0.2.1", "PARSEC_DATA_DIR": str(directory), "PARSEC_KEYS_FILE": None}
        )

    def __call__(self, *arguments: str) -> Result:
        return self._runner.invoke(main, ["keys", *arguments])

    def made(self, *arguments: str) -> str:
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        assert result.stdout.count("\n") == 1
        key = result.stdout.strip()
        assert name_of(key) is not None
        return key

    def listed(self) -> list[dict[str, Any]]:
        result = self("list")
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "data")


def test_a_key_from_its_making_to_its_end(keys: Keys) -> None:
    key = keys.made("create", "--tenant", "acme", "--name", "agent")
    [row] = keys.listed()
    assert (row["id"], row["state"], row["tenant"], row["scopes"], row["name"], row["expires"]) == (
        name_of(key), "good", "acme", ["ingest", "query"], "agent", None,
    )  # fmt: skip
    new = keys.made("rotate", row["id"], "--grace", "1h")
    assert [(each["id"], each["state"]) for each in keys.listed()] == [(row["id"], "good"), (name_of(new), "good")]
    assert keys.listed()[0]["expires"] is not None
    assert keys("revoke", str(name_of(new))).exit_code == 0
    assert [each["state"] for each in keys.listed()] == ["good", "revoked"]
    assert key[16:] not in keys("list").output


def test_scopes_and_expiry(keys: Keys) -> None:
    keys.made("create", "--scope", "admin", "--expires", "90d")
    keys.made("create", "--tenant", "acme", "--scope", "ingest, query,admin", "--expires", "2999-01-01")
    first, second = keys.listed()
    left = datetime.fromisoformat(first["expires"]) - datetime.now(UTC)
    assert timedelta(days=89) < left <= timedelta(days=90)
    assert (first["tenant"], first["scopes"]) == (None, ["admin"])
    assert (second["scopes"], second["expires"]) == (["ingest", "query", "admin"], "2999-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("create",), 1, "Name a tenant"),
        (("create", "--tenant", "acme", "--scope", "all"), 1, "scopes must be any of ingest, query, admin"),
        (("create", "--tenant", "acme", "--expires", "soon"), 2, "--expires must be a time"),
        (("create", "--tenant", "acme", "--expires", "2020-01-01"), 1, "expiry is in the past"),
        (("revoke", "none"), 1, "no key with this id"),
        (("rotate", "none"), 1, "no key with this id"),
        (("rotate", "none", "--grace", "x"), 2, "--grace must be a time"),
    ],
)
def test_wrong_use_is_told(keys: Keys, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = keys(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_a_file_that_cannot_be_used_is_told(keys: Keys) -> None:
    keys.directory.mkdir()
    (keys.directory / "keys.toml").write_text("[[")
    for arguments in (("list",), ("create", "--tenant", "acme")):
        result = keys(*arguments)
        assert (result.exit_code, "is damaged" in result.stderr) == (3, True)


def test_the_file_may_be_elsewhere(keys: Keys, tmp_path: Path) -> None:
    keys.made("create", "--tenant", "acme", "--keys-file", str(tmp_path / "elsewhere.toml"))
    assert "acme" in (tmp_path / "elsewhere.toml").read_text()
    assert keys.listed() == []
