"""One running Parsec per test module, for tests that do not stop it."""

from collections.abc import Iterator

import pytest

from tests.support.process import Parsec


@pytest.fixture(scope="module")
def parsec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsec]:
    data_dir = tmp_path_factory.mktemp("parsec") / "data"
    with Parsec(data_dir, PARSEC_DISK_RESERVE="0", PARSEC_PROCESS_LINGER_MS="100") as running:
        yield running
        assert running.terminate() == 0, running.logs()[-4000:]
        assert "Traceback" not in running.logs()
