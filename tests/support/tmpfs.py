"""A small file system of its own, in memory."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.prerequisites import require


@contextmanager
def tmpfs(mount: Path, options: str) -> Iterator[Path]:
    """Mounted at `mount`, which is created. `options`: as of mount(8), such as `size=64m`. Needs root."""
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"{options},mode=0755", "parsec-test", str(mount)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    require(f"a tmpfs cannot be mounted here: {done.stderr.strip()}" if done.returncode else None)
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)
