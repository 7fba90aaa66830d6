"""One Parsec per test module, for tests that do not stop it, and one Kafka broker for all that leave it running."""

from collections.abc import Iterator

import pytest

from tests.support.kafka_server import KafkaServer, kafka_server
from tests.support.process import Parsec


@pytest.fixture(scope="module")
def parsec(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parsec]:
    data_dir = tmp_path_factory.mktemp("parsec") / "data"
    with Parsec(data_dir, PARSEC_DISK_RESERVE="0", PARSEC_PROCESS_LINGER_MS="100") as running:
        yield running
        assert running.terminate() == 0, running.logs()[-4000:]
        assert "Traceback" not in running.logs()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Tests may stop, kill and pause it, if they start it again. Each uses topics of its own."""
    with kafka_server(tmp_path_factory.mktemp("kafka")) as running:
        yield running
