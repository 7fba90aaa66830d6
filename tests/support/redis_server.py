"""A real server of the Redis protocol on a free port of the loopback, for one test.

Where it cannot be installed the test is skipped with the reason; in CI it fails.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.support.prerequisites import require

SCRIPT = Path(__file__).parent / "services" / "redis.sh"


class RedisServer:
    """Started with `options`; its data survive `kill9` and `start`."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.port = free_port()
        self._state = directory
        self._options = options

    def start(self) -> None:
        self._do("start", str(self.port), "--", *self._options)

    def restart(self) -> None:
        self._do("restart", str(self.port))

    def kill9(self) -> None:
        self._do("kill9", str(self.port))

    def pause(self) -> None:
        """It takes connections and answers nothing."""
        self._do("pause", str(self.port))

    def resume(self) -> None:
        self._do("resume", str(self.port))

    def wipe(self) -> None:
        self._do("wipe", str(self.port))

    def _do(self, *arguments: str) -> None:
        _run(*arguments, state=str(self._state))


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[RedisServer]:
    """A running server with nothing in it; gone with the test."""
    require(_install())
    server = RedisServer(directory, *options)
    try:
        server.start()
        yield server
    finally:
        server.wipe()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@cache
def _install() -> str:
    """Why there is no server; empty when there is one. Downloads it once per machine."""
    try:
        _run("install")
    except subprocess.CalledProcessError as error:
        return f"no Redis server can be installed: {error.stderr.strip()}"
    return ""


def _run(*arguments: str, state: str = "") -> None:
    environment = {**os.environ, "PYTHON": sys.executable}
    if state:
        environment["PARSEC_SERVICES_STATE"] = state
    # Its output goes to files: a server that inherits a pipe would keep its reader waiting.
    subprocess.run([str(SCRIPT), *arguments], check=True, capture_output=True, text=True, timeout=120, env=environment)
