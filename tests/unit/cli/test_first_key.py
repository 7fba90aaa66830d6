"""`parsec keys create` for the first key, with and without a Parsec that runs on the directory."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from parsec.api.status import KeylessAnswer, KeylessSender
from parsec.cli import first_key, main
from parsec.keys.file import read
from tests.support.answering import Answering, Reply, problem
from tests.support.process import free_port

LISTED = [KeylessSender("acme", "127.0.0.1", "curl\x1b[2J/8.5", 1234), KeylessSender("", "::1", "", 60)]
SENDERS = KeylessAnswer("required", "/etc/keys.toml", 10, 1300, LISTED, 6)
Create = Callable[..., Result]


@pytest.fixture
def create(tmp_path: Path, server: Answering) -> Create:
    """On the directory of a Parsec that gives this answer, or that runs no more."""

    def run(*arguments: str, answer: object = SENDERS, typed: str = "", running: bool = True) -> Result:
        data_dir = tmp_path / "data"
        data_dir.mkdir(exist_ok=True)
        (data_dir / "url").write_text(f"{server.url if running else f'http://127.0.0.1:{free_port()}'}\n")
        server.replies.append(answer if isinstance(answer, Reply) else Reply(200, msgspec.json.encode(answer)))
        wanted = ["keys", "create", "--tenant", "acme", "--data-dir", str(data_dir), *arguments]
        return CliRunner().invoke(main, wanted, typed)

    return run


def keys(tmp_path: Path) -> int:
    return len(read(tmp_path / "data" / "keys.toml") or ())


def test_a_script_is_told_what_happens_and_to_say_yes(create: Create, tmp_path: Path) -> None:
    result = create()
    assert (result.exit_code, result.stdout, keys(tmp_path)) == (2, "", 0)
    assert "answers 401 to every request without a key" in result.stderr
    assert "tenant acme, from 127.0.0.1, curl\\x1b[2J/8.5: 1,234 requests" in result.stderr
    assert "tenant (none), from ::1, no User-Agent: 60 requests" in result.stderr
    assert "and others: 6 requests" in result.stderr
    assert "PARSEC_AUTH=warn" in result.stderr
    assert "add --yes" in result.stderr


def test_yes_creates_it_and_prints_it_alone(create: Create, tmp_path: Path) -> None:
    result = create("--yes")
    assert (result.exit_code, result.stdout.count("\n"), keys(tmp_path)) == (0, 1, 1)
    assert "1,234 requests" in result.stderr


@pytest.mark.parametrize(("typed", "code", "made"), [("y\n", 0, 1), ("n\n", 2, 0), ("\n", 2, 0)])
def test_a_person_is_asked(
    create: Create, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, made: int
) -> None:
    monkeypatch.setattr(first_key, "can_ask", lambda: True)
    result = create(typed=typed)
    assert (result.exit_code, keys(tmp_path)) == (code, made)
    assert "Create the key? [y/N]" in result.stderr
    assert result.stdout.count("\n") == made


def test_nobody_is_asked_about_another_key(create: Create, tmp_path: Path) -> None:
    assert create("--yes").exit_code == 0
    result = create()
    assert (result.exit_code, keys(tmp_path)) == (0, 2)
    assert "401" not in result.stderr


def test_nobody_is_asked_when_nothing_runs(create: Create, tmp_path: Path) -> None:
    result = create(running=False)
    assert (result.exit_code, keys(tmp_path)) == (0, 1)
    assert "401" not in result.stderr


@pytest.mark.parametrize("auth", ["warn", "off"])
def test_where_no_one_gets_401_that_is_said(create: Create, tmp_path: Path, auth: str) -> None:
    result = create(answer=msgspec.structs.replace(SENDERS, auth=auth))
    assert (result.exit_code, keys(tmp_path)) == (0, 1)
    assert f"PARSEC_AUTH={auth}" in result.stderr


def test_a_parsec_that_does_not_say_is_no_reason_not_to_ask(create: Create, tmp_path: Path) -> None:
    result = create(answer=problem(404, "not_found"))
    assert (result.exit_code, keys(tmp_path)) == (2, 0)
    assert "does not tell which senders have none" in result.stderr


@pytest.mark.parametrize("name", ["keys.toml", "other.toml"])
def test_a_parsec_of_another_directory_counts_if_it_uses_the_file(
    create: Create, server: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PARSEC_URL", server.url)
    (tmp_path / "link").symlink_to(tmp_path)
    answer = msgspec.structs.replace(SENDERS, keys_file=str(tmp_path / "link" / "keys.toml"))
    result = create("--keys-file", str(tmp_path / name), answer=answer, running=False)
    assert result.exit_code == (2 if name == "keys.toml" else 0)
    assert (tmp_path / name).exists() == (name == "other.toml")
    assert ("changes nothing there" in result.stderr) == (name == "other.toml")


def test_no_senders_are_said_too(create: Create) -> None:
    result = create("--yes", answer=KeylessAnswer("required", "/etc/keys.toml", 10, 0, [], 0))
    assert "It received no request without a key in the last 10 minutes" in result.stderr
