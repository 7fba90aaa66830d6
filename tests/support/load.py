"""Clients under load that remember what was answered: which ids were acknowledged, which are in doubt."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

TENANT = "load"


def event(event_id: str, tenant: str = TENANT, message: str = "GET /users 200 in 12 ms") -> dict[str, object]:
    """A well-formed event of about 300 bytes."""
    return {
        "id": event_id,
        "tenant_id": tenant,
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "severity": "info",
        "source": "api-gateway",
        "message": message,
        "metadata": {
            "user_id": 42,
            "latency_ms": 12.5,
            "path": "/users/42",
            "trace": "0af7651916cd43dd8448eb211c80319c",
        },
    }


class Load:
    """`clients` threads, each posting batches over one connection until stopped or cut off.

    `spool`: events may be answered as spooled; those are `acknowledged`, too. `pause_s`: between two requests.
    `tenants`: the events of a request go round them.
    """

    def __init__(
        self,
        port: int,
        run: str,
        clients: int = 4,
        batch: int = 20,
        *,
        spool: bool = False,
        pause_s: float = 0.0,
        tenants: Sequence[str] = (TENANT,),
    ) -> None:
        self._port = port
        self._run = run
        self._batch = batch
        self._pause_s = pause_s
        self.tenants = tenants
        self._good = ("durable", "spooled") if spool else ("durable",)
        self._stop = threading.Event()
        self.spooled = 0
        self.slowest_s = 0.0
        self.refused_ids: list[str] = []
        self.acknowledged: set[str] = set()
        self.refused = 0
        self.unanswered: list[str] = []
        self.wrong_answers: list[str] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(clients)]

    def start(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> "Load":
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs"
        return self

    def wait_for(self, events: int, still_running: Callable[[], bool], timeout_s: float = 30.0) -> None:
        """Until this many events were acknowledged."""
        waited = threading.Event()
        for _ in range(int(timeout_s * 100)):
            if len(self.acknowledged) >= events:
                return
            assert still_running(), "parsec ended under load"
            waited.wait(0.01)
        raise AssertionError(f"only {len(self.acknowledged)} of {events} events were acknowledged in {timeout_s} s")

    def _events(self, ids: Sequence[str]) -> list[dict[str, object]]:
        return [event(i, self.tenants[n % len(self.tenants)]) for n, i in enumerate(ids)]

    def _client(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        sequence = 0
        while not self._stop.is_set():
            ids = [f"{self._run}-{number}-{sequence + n}" for n in range(self._batch)]
            sequence += self._batch
            started = time.monotonic()
            try:
                connection.request("POST", "/ingest", json.dumps(self._events(ids)))
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException):
                with self._lock:
                    self.unanswered += ids
                connection.close()
                return
            with self._lock:
                self.slowest_s = max(self.slowest_s, time.monotonic() - started)
                if response.status == 200 and answer["ack"] in self._good and answer["accepted"] == self._batch:
                    self.acknowledged.update(ids)
                    self.spooled += self._batch if answer["ack"] == "spooled" else 0
                elif response.status in (429, 503) and int(response.headers["Retry-After"]) >= 1:
                    self.refused += self._batch
                    self.refused_ids += ids
                else:
                    self.wrong_answers.append(f"{response.status} {answer}")
            if self._pause_s:
                self._stop.wait(self._pause_s)
        connection.close()
