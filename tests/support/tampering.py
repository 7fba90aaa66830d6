"""Somebody at the embedded store of a stopped Parsec, behind its back.

python tests/support/tampering.py STORE STATEMENT...
"""

import subprocess
import sys
from pathlib import Path

ROW_GONE = "ALTER TABLE events DELETE WHERE offset = {offset} SETTINGS mutations_sync = 2"
ROW_DOUBLED = "INSERT INTO events SELECT * FROM events WHERE offset = {offset}"


def tamper(data_dir: Path, *statements: str) -> None:
    """In a process of its own: the engine opens one directory in its life."""
    subprocess.run([sys.executable, __file__, str(data_dir / "store"), *statements], check=True, timeout=60)


if __name__ == "__main__":
    from parsec.adapters.store.chdb.engine import ChdbEngine

    client = ChdbEngine(Path(sys.argv[1])).connect({})
    for statement in sys.argv[2:]:
        client.command(statement)
    client.close()
