"""What the benchmarks share: a Parsec of their own on a fresh directory, load on it, and a table of medians."""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.process import Parsec

__all__ = (
    "Parsec", "arguments", "cpu_s", "load", "load_beside", "medians", "memory_mib", "parsec", "percentiles_ms",
    "publish",
)  # fmt: skip


@contextmanager
def parsec(**settings: str) -> Iterator[Parsec]:
    """A running Parsec on a temporary directory beside the repository's own disk."""
    with tempfile.TemporaryDirectory(prefix="parsec-bench-", dir=os.environ.get("BENCH_DIR")) as directory:
        running = Parsec(Path(directory) / "data", **settings)
        with running:
            yield running
            running.terminate()


def load(running: Parsec, *options: str) -> dict[str, Any]:
    """One run of `parsec bench` in a process of its own."""
    url = f"http://127.0.0.1:{running.port}"
    command = [sys.executable, "-m", "parsec", "bench", "--url", url, "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@contextmanager
def load_beside(running: Parsec, *options: str) -> Iterator[None]:
    """`parsec bench` for as long as the block takes, ten minutes at most."""
    url = f"http://127.0.0.1:{running.port}"
    command = [sys.executable, "-m", "parsec", "bench", "--url", url, "--duration", "600", *options]
    beside = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
        assert beside.poll() is None, "the load ended early"
    finally:
        beside.kill()
        beside.wait()


def memory_mib(running: Parsec) -> float:
    """Resident memory of the process now, in MiB."""
    return running.resident_bytes() / (1 << 20)


def cpu_s(running: Parsec) -> float:
    """User and system seconds that the process has used."""
    fields = Path(f"/proc/{running.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Per figure the median of the runs."""
    return {name: median(run[name] for run in runs) for name in runs[0]}


def percentiles_ms(waits_s: Sequence[float]) -> dict[str, float]:
    """The middle one of some durations, and the one that a hundredth of them exceed."""
    ordered = sorted(waits_s)
    return {f"p{q}_ms": ordered[len(ordered) * q // 100] * 1e3 for q in (50, 99)}


def arguments(text: str, *flags: str) -> argparse.Namespace:
    """`--runs`, `--seconds` and `--json FILE`, the same for every benchmark, and `flags` of its own."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--json", type=Path)
    for flag in flags:
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


def publish(rows: Mapping[str, Mapping[str, float]], file: Path | None) -> None:
    """A table on standard output, and the same as JSON in `file`."""
    for name, figures in rows.items():
        print(f"{name:44s} " + "  ".join(f"{key}={value:,.6g}" for key, value in figures.items()))
    if file:
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()}
        file.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
