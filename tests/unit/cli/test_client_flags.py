"""Address and key: flag, environment, profile, default, in this order."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from parsec.cli import main
from tests.support.answering import Answering, Reply, answering, page, problem

NOTHING = Reply(200, page().body.replace(b"{", b'{"dead_letters":[],', 1))


def write(home: Path, text: str, mode: int = 0o600) -> Path:
    path = home / "parsec" / "profiles.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def run(*arguments: str, **env: str) -> Result:
    return CliRunner(env=env).invoke(main, arguments)


def key(server: Answering) -> str | None:
    return server.asked[-1].headers.get("authorization")


def profile(server: Answering, name: str = "default") -> str:
    return f'[{name}]\nurl = "{server.url}"\napi_key = "k-profile"\ntenant = "acme"\n'


def test_the_default_profile_says_where_and_with_which_key(server: Answering, config_home: Path) -> None:
    write(config_home, profile(server))
    server.will(NOTHING)
    for command in (["query"], ["deadletters", "list"]):
        found = run(*command)
        assert found.exit_code == 0, found.output
        assert key(server) == "Bearer k-profile"
        assert "tenant=acme" in server.asked[-1].path


def test_a_profile_is_chosen_by_flag_or_environment(server: Answering, config_home: Path) -> None:
    write(config_home, '[default]\nurl = "http://127.0.0.1:1"\n' + profile(server, "prod"))
    server.will(NOTHING)
    assert run("query", "--profile", "prod").exit_code == 0
    assert run("query", PARSEC_PROFILE="prod").exit_code == 0
    assert run("query", "--profile", "default", PARSEC_PROFILE="prod").exit_code == 3
    unknown = run("query", "--profile", "prd")
    assert unknown.exit_code == 2
    assert "has no profile 'prd'; it has default, prod" in unknown.stderr


def test_the_environment_beats_the_profile_and_a_flag_the_environment(server: Answering, config_home: Path) -> None:
    write(config_home, profile(server))
    server.will(NOTHING)
    assert run("query", PARSEC_API_KEY="k-env", PARSEC_TENANT="other").exit_code == 0
    assert key(server) == "Bearer k-env"
    assert "tenant=other" in server.asked[-1].path
    with answering() as elsewhere:
        elsewhere.will(NOTHING)
        assert run("query", PARSEC_URL=elsewhere.url).exit_code == 0
        assert run("query", "--url", elsewhere.url, PARSEC_URL=server.url).exit_code == 0
        assert [asked.headers.get("authorization") for asked in elsewhere.asked] == [None, None]


def test_keys_that_others_may_read_are_told(server: Answering, config_home: Path) -> None:
    path = write(config_home, profile(server), 0o644)
    server.will(NOTHING)
    found = run("query")
    warning = f"parsec: other users can read the keys in {path}; run chmod 600 on it"
    assert (found.exit_code, found.stderr.splitlines()[0]) == (0, warning)
    write(config_home, f'[default]\nurl = "{server.url}"\ntenant = "t"\n', 0o644)
    assert "chmod" not in run("query").stderr


@pytest.mark.parametrize("text", ["[default", "[default]\nurll = 'x'", "[default]\nurl = 5", "url = 'x'"])
def test_a_broken_file_is_wrong_use(config_home: Path, text: str) -> None:
    write(config_home, text)
    found = run("query")
    assert found.exit_code == 2
    assert "profiles.toml cannot be read" in found.stderr


def test_bench_takes_no_tenant_from_a_profile(server: Answering, config_home: Path) -> None:
    write(config_home, profile(server))
    server.will(problem(401, "unauthorized"))
    assert run("bench").exit_code == 3
    assert key(server) == "Bearer k-profile"
