"""A server for the commands to talk to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.answering import Answering, answering


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering() as state:
        yield state


@pytest.fixture(autouse=True)
def config_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing of whoever runs the tests decides where a command goes; profiles are read below this directory."""
    home = tmp_path_factory.mktemp("config")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    for name in ("PARSEC_URL", "PARSEC_API_KEY", "PARSEC_TENANT", "PARSEC_PROFILE", "PARSEC_CA_FILE"):
        monkeypatch.delenv(name, raising=False)
    return home
