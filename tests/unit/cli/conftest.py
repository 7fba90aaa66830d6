"""A server for the commands to talk to."""

from collections.abc import Iterator

import pytest

from tests.support.answering import Answering, answering


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering() as state:
        yield state
