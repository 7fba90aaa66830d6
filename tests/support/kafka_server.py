"""Real Kafka brokers on free ports of the loopback, and plain clients to look at what is in them.

Where they cannot be installed the test is skipped with the reason; in CI it fails.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic  # type: ignore[attr-defined]

from tests.support.prerequisites import require

SCRIPT = Path(__file__).parent / "services" / "kafka.sh"
QUORUM = 10_000
"""The quorum's listener is on the broker's port plus this."""
SASL, TLS = 100, 200
WAIT_S = 30.0


class KafkaServer:
    """`count` brokers of one cluster. Their data survive `kill9` and `start`. `quick_start`: at the price of speed.

    `sasl`: USER:PASSWORD for one more listener; `tls`: a file with certificate and key for yet another, and for that.
    """

    def __init__(
        self,
        directory: Path,
        count: int = 1,
        *,
        sasl: str = "",
        tls: Path | None = None,
        quick_start: bool = True,
    ) -> None:
        self.port = free_ports(count)
        self._count = count
        self._environment = {
            **os.environ,
            "PARSEC_SERVICES_STATE": str(directory),
            "KAFKA_JVM": "-XX:TieredStopAtLevel=1" if quick_start else "",
            "KAFKA_HEAP": "256m" if quick_start else "512m",
            "KAFKA_SASL": sasl,
            "KAFKA_TLS": str(tls or ""),
        }

    @property
    def ports(self) -> range:
        return range(self.port, self.port + self._count)

    @property
    def address(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    @property
    def sasl_address(self) -> str:
        return f"127.0.0.1:{self.port + SASL}"

    @property
    def tls_address(self) -> str:
        return f"127.0.0.1:{self.port + TLS}"

    def start(self, broker: int = 0) -> None:
        """All of a new cluster, or one that was stopped or killed."""
        if self._count > 1 and broker == 0:
            self._do("start-cluster", str(self._count), str(self.port))
        else:
            self._do("start", str(self.port + broker))

    def stop(self, broker: int = 0) -> None:
        self._do("stop", str(self.port + broker))

    def restart(self, broker: int = 0) -> None:
        self._do("restart", str(self.port + broker))

    def kill9(self, broker: int = 0) -> None:
        self._do("kill9", str(self.port + broker))

    def pause(self, broker: int = 0) -> None:
        """It takes connections and answers nothing."""
        self._do("pause", str(self.port + broker))

    def resume(self, broker: int = 0) -> None:
        self._do("resume", str(self.port + broker))

    def wipe(self) -> None:
        self._do("wipe", *map(str, self.ports))

    def data(self, topic: str, partition: int = 0) -> Path:
        """Where a broker keeps the files of a partition."""
        return Path(self._environment["PARSEC_SERVICES_STATE"]) / f"kafka-{self.port}" / "data" / f"{topic}-{partition}"

    def make_topic(self, partitions: int = 1, **config: str) -> str:
        """A topic of its own for a test; its name."""
        name = f"t-{uuid4().hex[:12]}"
        wanted = NewTopic(name, partitions, -1, config={key.replace("_", "."): value for key, value in config.items()})
        self.admin.create_topics([wanted])[name].result(WAIT_S)
        self.records(name, partitions, at_least=0)  # until the brokers know it
        return name

    def remake_topic(self, name: str, partitions: int = 1) -> None:
        """Gone and there again before a client looks: most hear of the new one without having missed the old."""
        self.admin.delete_topics([name])[name].result(WAIT_S)
        end = time.monotonic() + WAIT_S
        while True:
            try:
                self.admin.create_topics([NewTopic(name, partitions, -1)])[name].result(WAIT_S)
                return
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS or time.monotonic() > end:
                    raise

    def add_partitions(self, topic: str, total: int) -> None:
        self.admin.create_partitions([NewPartitions(topic, total)])[topic].result(WAIT_S)
        self.records(topic, total)  # until the brokers know them

    def expire(self, topic: str, before: int, partition: int = 0) -> None:
        """As retention does: offsets below `before` are gone."""
        place = TopicPartition(topic, partition, before)
        self.admin.delete_records([place])[place].result(WAIT_S)

    @cached_property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def put(
        self,
        topic: str,
        values: Sequence[bytes],
        partition: int = 0,
        headers: Sequence[tuple[str, bytes]] = (),
        **options: str,
    ) -> None:
        """As any other program would."""
        producer = Producer({"bootstrap.servers": self.address, "acks": "all", "log_level": 0, **options})
        for value in values:
            producer.produce(topic, value, partition=partition, headers=list(headers))
        assert producer.flush(WAIT_S) == 0

    def records(self, topic: str, partitions: int = 1, at_least: int = 0) -> list[Message]:
        """All records of a topic, partition by partition; waits until there are `at_least` so many."""
        end = time.monotonic() + WAIT_S
        found: list[Message] = []
        while time.monotonic() < end:
            try:
                found = [each for number in range(partitions) for each in self._partition(topic, number)]
            except KafkaException:
                time.sleep(0.1)
                continue
            if len(found) >= at_least:
                return found
        raise AssertionError(f"{len(found)} records in {topic}, not {at_least}")

    def _partition(self, topic: str, partition: int) -> list[Message]:
        consumer = Consumer({
            "bootstrap.servers": self.address, "group.id": "look", "enable.auto.commit": False, "log_level": 0,
            "enable.partition.eof": True,
        })  # fmt: skip
        try:
            low, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=5)
            consumer.assign([TopicPartition(topic, partition, low)])
            found: list[Message] = []
            while True:
                for message in consumer.consume(10_000, 0.2):
                    error = message.error()
                    if error is None:
                        found.append(message)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return found
                    else:
                        raise KafkaException(error)
        finally:
            consumer.close()

    def _do(self, *arguments: str) -> None:
        # Its output goes to pipes that a broker does not inherit: it has its own log file.
        done = subprocess.run(
            [str(SCRIPT), *arguments], capture_output=True, text=True, timeout=180, env=self._environment, check=False
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def kafka_server(
    directory: Path, count: int = 1, *, sasl: str = "", tls: Path | None = None, quick_start: bool = True
) -> Iterator[KafkaServer]:
    """Running brokers with nothing in them; gone afterwards, whatever happened."""
    require(_install())
    server = KafkaServer(directory, count, sasl=sasl, tls=tls, quick_start=quick_start)
    try:
        server.start()
        yield server
    finally:
        server.wipe()


def free_ports(count: int) -> int:
    """The first of `count` in a row that are free, with their other listeners', below those of clients."""
    for first in range(20_000 + os.getpid() % 100 * 25, 22_700, count):
        ports = [port + plus for port in range(first, first + count) for plus in (0, SASL, TLS, QUORUM)]
        if all(map(_is_free, ports)):
            return first
    raise AssertionError("no ports are free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@cache
def _install() -> str:
    """Why there are no brokers; empty when there are. Downloads them once per machine."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            return f"no Kafka broker can be installed: {program} is missing"
    done = subprocess.run([str(SCRIPT), "install"], capture_output=True, text=True, timeout=600, check=False)
    return f"no Kafka broker can be installed: {done.stderr.strip()}" if done.returncode else ""
