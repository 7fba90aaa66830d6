"""What is said of limits that are too low, and how the files that are allowed are shared."""

import resource
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from parsec.core.errors import Fatal
from parsec.settings import Settings
from parsec.wiring.process_limits import ProcessLimits, check_process_limits

ENOUGH = {resource.RLIMIT_NOFILE: 65_536, resource.RLIMIT_AS: 1 << 40, resource.RLIMIT_NPROC: 4096}
ALL = Settings()
INGEST = Settings(role="ingest", kafka_brokers="k:9092")


def checked(limits: Mapping[int, int], settings: Settings = ALL, cgroups: tuple[Path, ...] = ()) -> ProcessLimits:
    return check_process_limits(settings, lambda which: {**ENOUGH, **limits}[which], cgroups)


@pytest.mark.parametrize(
    ("which", "found", "words"),
    [
        (resource.RLIMIT_NOFILE, 511, "open files is 511, and Parsec needs at least 512: raise it with `ulimit"),
        (resource.RLIMIT_AS, 2 << 30, "in bytes is 2,147,483,648, and Parsec needs at least 3,221,225,472: lift"),
        (resource.RLIMIT_NPROC, 100, "threads of this user is 100, and Parsec needs at least 256: raise it"),
    ],
)  # fmt: skip
def test_a_limit_that_is_too_low_is_named_with_the_least_that_works(which: int, found: int, words: str) -> None:
    with pytest.raises(Fatal, match="the limit on") as caught:
        checked({which: found})
    assert words in str(caught.value)


def test_a_process_without_an_engine_needs_less() -> None:
    low = {resource.RLIMIT_NOFILE: 200, resource.RLIMIT_AS: 1 << 30, resource.RLIMIT_NPROC: 64}
    assert checked(low, INGEST).connections == 200 - 128
    assert checked(low, Settings(storage_backend="clickhouse")).engine_memory == 0
    with pytest.raises(Fatal, match="at least 160"):
        checked({resource.RLIMIT_NOFILE: 159}, INGEST)


@pytest.mark.parametrize(
    ("files", "connections"), [(512, 64), (1024, 256), (2048, 512), (4096, 2560), (5632, 4096), (65_536, 4096)]
)
def test_clients_get_the_files_that_log_and_store_leave(files: int, connections: int) -> None:
    assert checked({resource.RLIMIT_NOFILE: files}).connections == connections


def test_fewer_connections_than_fit_stay_as_they_were_asked_for() -> None:
    settings = msgspec.structs.replace(ALL, max_connections=20)
    assert checked({resource.RLIMIT_NOFILE: 512}, settings).connections == 20


@pytest.mark.parametrize(
    ("content", "memory"),
    [("max", 2 << 30), ("9223372036854771712", 2 << 30), (f"{1 << 30}", 644_245_094), (f"{1 << 20}", 256 << 20)],
)  # fmt: skip
def test_the_engine_gets_a_share_of_the_containers_memory(tmp_path: Path, content: str, memory: int) -> None:
    file = tmp_path / "memory.max"
    file.write_text(f"{content}\n")
    assert checked({}, cgroups=(file, tmp_path / "missing")).engine_memory == memory
