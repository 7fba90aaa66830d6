"""What a long run found, kept as a file beside the benchmarks' results."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "bench" / "results"


def keep(name: str, test: str, figures: dict[str, Any]) -> None:
    """Writes `figures` as bench/results/NAME.json, with the test that found them, the day and the machine."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()}
    found = {"date": datetime.now(UTC).date().isoformat(), "command": f"pytest -m soak {test}", "machine": machine}
    (RESULTS / f"{name}.json").write_text(json.dumps(found | figures, indent=2) + "\n")
