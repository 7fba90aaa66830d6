"""Variants of a table compared: each run in a process of its own, by turns, as a table of medians."""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

Run = Callable[[str, int, int, str], Mapping[str, float]]
"""The figures of a variant, of so many blocks, of so many rows each, in an empty directory."""


def compare(variants: Iterable[str], run: Run, description: str | None, script: str, blocks: int) -> None:
    """The command line of a bench; `script`: its file, `blocks`: of each run unless --blocks says otherwise."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--blocks", type=int, default=blocks)
    parser.add_argument("--block-rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--child", default="")
    options = parser.parse_args()
    if options.child:
        directory = tempfile.mkdtemp(prefix=f"{Path(script).stem}-")
        try:
            print(json.dumps(run(options.child, options.blocks, options.block_rows, directory)))
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return
    chosen = [n for n in options.only.split(";") if n] or list(variants)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    for _ in range(options.rounds):
        for name in chosen:
            command = [sys.executable, script, "--child", name, "--blocks", str(options.blocks)]
            done = subprocess.run([*command, "--block-rows", str(options.block_rows)], capture_output=True, text=True)
            if done.returncode:
                print(f"{name}: failed: {done.stderr[-600:]}", file=sys.stderr)
                continue
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    header = next((runs[0] for runs in found.values() if runs), {})
    print("| variant | " + " | ".join(header) + " |\n|" + " --- |" * (len(header) + 1))
    for name, runs in found.items():
        if runs:
            print(f"| {name} | " + " | ".join(f"{statistics.median(r[k] for r in runs):.1f}" for k in header) + " |")
