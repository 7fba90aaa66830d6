"""A server for clients to talk to."""

from collections.abc import Iterator

import pytest

from tests.support.answering import Answering, answering


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering() as state:
        yield state


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of whoever runs the tests decides where a client goes."""
    monkeypatch.delenv("PARSEC_URL", raising=False)
    monkeypatch.delenv("PARSEC_API_KEY", raising=False)
