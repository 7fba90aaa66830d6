"""What a test needs of the machine, and what becomes of it where that is missing."""

import os

import pytest


def require(problem: str | None) -> None:
    """Skips with `problem` as the reason; in CI, which has to install everything, fails. None: nothing is missing."""
    if not problem:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(problem)
    pytest.skip(problem)
