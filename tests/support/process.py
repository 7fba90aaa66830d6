"""The real `parsec serve` as a child process, and a client that remembers exactly what was acknowledged."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

START_TIMEOUT_S = 30.0
SOON_S = 10.0
"""By when a change of a watched file counts; about a second, on a machine that has nothing else to do."""


def eventually(holds: Callable[[], bool]) -> None:
    """Returns once it does; fails after SOON_S."""
    end = time.monotonic() + SOON_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Parsec:
    """One Parsec on a data directory; can be killed and started again on it. `under`: a command that runs it.

    `key` is sent with each request that names none; `tls` is how to talk to one that has a certificate.
    """

    def __init__(self, data_dir: Path, under: Sequence[str] = (), **settings: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.log_path = data_dir.parent / f"{data_dir.name}.log"
        self._under = under
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.key: str | None = None
        self.tls: ssl.SSLContext | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if self._process is not None:
            self.kill()
        if kind is not None:
            print(self.logs()[-8000:])

    def start(self, *, wait: bool = True) -> Self:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PARSEC_", "KAFKA_"))}
        environment |= {
            "PARSEC_DATA_DIR": str(self.data_dir),
            "PARSEC_PORT": str(self.port),
            "PARSEC_LOG_FORMAT": "json",
            **self._settings,
        }
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._under, sys.executable, "-m", "parsec", "serve"], env=environment, stdout=log, stderr=log
            )
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()  # a `with` that was never entered has no exit
                raise
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"parsec ended with {self.process.returncode}:\n{self.logs()[-4000:]}")
            try:
                if self.get("/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"parsec was not ready within {timeout_s} s:\n{self.logs()[-4000:]}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout_s: float = 60.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def resident_bytes(self) -> int:
        """Memory of the process now; only where there is /proc."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmRSS"))

    def logs(self) -> str:
        return self.log_path.read_text(errors="replace")

    def connection(self, timeout_s: float = 30.0) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout_s, context=self.tls)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> tuple[int, dict[str, str], bytes]:
        connection = self.connection(timeout_s)
        own = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
        try:
            connection.request(method, path, body, own if headers is None else headers)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, Any]:
        status, headers, body = self.request("GET", path)
        return status, json.loads(body) if "json" in headers.get("content-type", "") else body

    def ingest(self, events: object, query: str = "", headers: dict[str, str] | None = None) -> tuple[int, Any]:
        body = events if isinstance(events, bytes) else json.dumps(events).encode()
        status, _, answer = self.request("POST", f"/ingest{query}", body, headers)
        return status, json.loads(answer)

    def stats(self) -> Any:
        return self.get("/stats")[1]

    def wait_processed(self, timeout_s: float = 60.0) -> None:
        """Until the processor has committed everything that is durable."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            ledger = self.stats()["ledger"]
            if ledger and ledger["committed"] == ledger["end"] and ledger["in_flight"] == 0:
                return
            time.sleep(0.05)
        raise AssertionError(f"not processed within {timeout_s} s: {self.stats()}\n{self.logs()[-4000:]}")

    def wait_compared(self) -> None:
        """Until the store was compared with the ledger, before which answers say that they may lack events."""
        eventually(lambda: self.get("/admin/repair")[1]["phase"] == "idle")

    def search(self, tenant: str, **parameters: str | int) -> list[dict[str, Any]]:
        """All events of a tenant by paging to the end."""
        found: list[dict[str, Any]] = []
        asked: dict[str, str | int] = {"tenant": tenant, "limit": 10_000, "from": 0, **parameters}
        while True:
            status, page = self.get(f"/query/events?{urlencode(asked)}")
            assert status == 200, page
            found += page["events"]
            if page["cursor"] is None:
                return found
            asked["cursor"] = page["cursor"]
