"""CPU per event of each stage on its way, 100 events per request: a profile of the hot path and of the processor.

python bench/stages.py [--runs 3] [--seconds 6] [--json bench/results/stages.json]

The Parsec measured here has a clock around the functions in STAGES. A stage's time is that of its thread on a
processor, without that of the stages it calls; looking at the clock costs a microsecond per call, 0.1 us per event in
all.
"""

import atexit
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from _running import Parsec, arguments, load, medians, publish

STAGES = {
    "event loop": {
        "HTTP": "parsec.web.http1.limits:LimitedConnection.data_received",
        "JSON to events": "parsec.ingest.pipeline:chunks",
        "normalising": "parsec.ingest.pipeline:normalize",
        "queue, limits, counts": "parsec.web.routes.ingest:IngestRoute.ingest_whole",
        "answers": "parsec.ingest.channel:_deliver",
    },
    "worker": {
        "envelopes to lines": "parsec.ingest.worker:encode_lines",
        "frames": "parsec.adapters.log.embedded:EmbeddedLog.publish",
        "write": "parsec.adapters.log.files:Files.write",
        "sync": "parsec.adapters.log.files:Files.sync",
    },
    "processor": {
        "reading the log": "parsec.adapters.log.reader:EmbeddedReader.poll",
        "lines to envelopes": "parsec.process.rows:decode_all",
        "rows": "parsec.process.rows:rows",
        "claims of ids": "parsec.process.claims:Claims.claim",
        "rows to blocks": "parsec.adapters.store.native:Table.block",
        "insert": "parsec.adapters.store.chdb.engine:ChdbEngine.write",
        "reserving and committing": "parsec.process.loop:Processor._perform",
    },
}
"""By thread. A function that is imported by name stands where it is used."""

CLOCKED = (sys.executable, __file__, "--clocked")
RESULT = "BENCH_STAGES"


class Clock:
    """Time on a processor, by stage, each without what it calls."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._inner = threading.local()

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*args: Any, **named: Any) -> Any:
            outer = getattr(self._inner, "seconds", 0.0)
            self._inner.seconds = 0.0
            began = time.thread_time()
            try:
                return function(*args, **named)
            finally:
                whole = time.thread_time() - began
                self.seconds[stage] += whole - self._inner.seconds
                self._inner.seconds = outer + whole

        return clocked


def serve_clocked() -> None:
    """`parsec serve` that leaves its seconds in a file as it ends."""
    clock = Clock()
    for thread, stages in STAGES.items():
        for stage, place in stages.items():
            module, _, path = place.partition(":")
            owner: Any = import_module(module)
            *owners, name = path.split(".")
            for each in owners:
                owner = getattr(owner, each)
            clocked = clock.around(f"{thread}: {stage}", getattr(owner, name))
            is_static = isinstance(vars(owner)[name], staticmethod)
            setattr(owner, name, staticmethod(clocked) if is_static else clocked)
    atexit.register(lambda: Path(os.environ[RESULT]).write_text(json.dumps(clock.seconds)))
    from parsec.cli import main as parsec

    parsec(["serve"])


def measured(seconds: float) -> Mapping[str, float]:
    """Microseconds per event by stage."""
    with tempfile.TemporaryDirectory(prefix="parsec-bench-") as directory:
        result = Path(directory) / "stages.json"
        with Parsec(Path(directory) / "data", CLOCKED, **{RESULT: str(result)}) as running:
            accepted = load(running, "--duration", str(seconds))["accepted"]
            running.wait_processed()
            running.terminate()
        return {stage: used / accepted * 1e6 for stage, used in json.loads(result.read_text()).items()}


def main() -> None:
    asked = arguments(__doc__ or "")
    found = medians([measured(asked.seconds) for _ in range(asked.runs)])
    names = [f"{thread}: {stage}" for thread, stages in STAGES.items() for stage in stages]
    publish({name: {"us_per_event": found[name]} for name in names}, asked.json)


if __name__ == "__main__":
    if "--clocked" in sys.argv:
        serve_clocked()
    else:
        main()
