"""This checkout against another one, run in turn: the ratio of each figure, for changes that must cost nothing.

python bench/versions.py OTHER [--runs 3] [--seconds 5] [--json bench/results/versions.json]

OTHER is a directory with a checkout of another version and its own .venv (`make build` there makes one). Both run their
own bench/budgets.py and bench/request.py, this one and the other by turns, so that a machine that drifts slows both.
A ratio is this version's median over the other's.
"""

import argparse
import json
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

from _running import publish

HERE = Path(__file__).parent.parent
BENCHES = ("budgets", "request")
Figures = dict[str, list[float]]


def run(checkout: Path, bench: str, seconds: float, into: Figures) -> None:
    """One run of a bench in a checkout; each figure is appended to those of the runs before."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [".venv/bin/python", f"bench/{bench}.py", "--runs", "1", "--seconds", str(seconds)]
        subprocess.run([*command, "--json", file.name], cwd=checkout, check=True, stdout=subprocess.DEVNULL)
        for row, figures in json.loads(Path(file.name).read_text())["rows"].items():
            for name, value in figures.items():
                into[f"{row}: {name}"].append(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    this, other = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for _ in range(asked.runs):
        for bench in BENCHES:
            run(HERE, bench, asked.seconds, this)
            run(asked.other, bench, asked.seconds, other)
    rows = {
        name: {
            "this": median(this[name]),
            "other": median(other[name]),
            "ratio": median(this[name]) / median(other[name]),
        }
        for name in this
        if name in other
    }
    publish(rows, asked.json)


if __name__ == "__main__":
    main()
