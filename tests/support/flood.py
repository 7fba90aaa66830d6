"""A client that means no good: it sends the same body over many connections at a rate, whatever it is told."""

import http.client
import json
import threading
import time
from collections import Counter
from itertools import count

from tests.support.load import event


class Flood:
    """Each request has ids of its own. `statuses` and `codes` of all answers, `seconds` from start to stop."""

    def __init__(
        self, port: int, tenant: str, batch: int, *, connections: int = 4, per_s: float, named: bool = False
    ) -> None:
        """`per_s`: requests of all connections together. `named`: a header says whose they are."""
        one = event("", tenant)
        del one["id"]
        self._body = json.dumps([one] * batch).encode()
        self._headers = {"X-Tenant-ID": tenant} if named else {}
        self._port = port
        self._interval_s = connections / per_s
        self._numbers = count()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(connections)]
        self.statuses: Counter[int] = Counter()
        self.codes: Counter[str] = Counter()
        self.accepted = 0
        self.seconds = 0.0

    def __enter__(self) -> "Flood":
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        self.seconds = time.monotonic() - self._started

    def _client(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        due = time.monotonic()
        while not self._stop.is_set():
            key = {"Idempotency-Key": f"{id(self)}-{next(self._numbers)}"}
            connection.request("POST", "/ingest", self._body, self._headers | key)
            response = connection.getresponse()
            answer = json.loads(response.read())
            with self._lock:
                self.statuses[response.status] += 1
                self.accepted += answer["accepted"]
                self.codes.update(error["code"] for error in answer["errors"])
            due += self._interval_s
            self._stop.wait(max(0.0, due - time.monotonic()))
        connection.close()
