"""How many functions of Parsec one warm event crosses until it is stored, and one question until it is answered.

python bench/hops.py [--runs 3] [--list] [--json bench/results/hops.json]

Runs `parsec serve` in this process on a temporary directory, profiles every thread (sys.setprofile), and talks to it
over one kept-alive connection. Event: POST /ingest with one complete event, from data_received of the HTTP protocol
through channel, worker, embedded log and processor until the row is stored, its range committed, and every thread
waits again where it waited before. Question: GET /query/events for one word, from data_received to the last byte of
the answer; a second question has two conditions.

Counted is each call of a function, method, property or lambda written in src/parsec, on any thread. Not counted:
comprehensions and generator expressions; a generator or coroutine that goes on after a yield or await; methods that
are generated (of structs, named tuples, enumerations); everything outside src/parsec.

The limits are those of a store in memory, so calls of adapters/store, and what these call in turn, have a row of
their own. A question's limit counts from the ASGI call on; the way from data_received to there has a row, too.

A timer or a turn of the idle processor may fall into a trace: of `--runs` times five traces of a warm process the
shortest is taken.
"""

import dis
import inspect
import json
import os
import runpy
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple
from unittest.mock import patch
from urllib.parse import quote

from _running import Parsec, arguments, publish

SOURCE = str(Path(__file__).parents[1] / "src" / "parsec") + os.sep
STORE = str(Path("adapters", "store")) + os.sep
INLINE = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<module>")
RESUME = dis.opmap["RESUME"]

LIMITS = {"event": {"calls": 200, "files": 28}, "question": {"calls": 120}}
LOOK_S = 0.001
IDLE_LOOKS, FIRST_IDLE_LOOKS = 5, 100
"""So often in a row every thread must be seen where it waits; at first for longer than a sync of the disk takes."""
PAUSE_S = 1.0
"""Before a traced event; a processor that has just inserted waits for more events."""
WARM_UP = 20
TENANT = "hops"
QUESTIONS = {"question": "{n}", "question of two conditions": "severity:info message:{n}"}


class Call(NamedTuple):
    thread: str
    file: str
    function: str
    line: int
    in_store: bool
    """Made by the store's adapter, or by what it called."""
    asgi: bool
    """A coroutine function `__call__`: where a web application begins."""


Place = tuple[str, str, int]


class Trace:
    """Calls in the order in which they began, between `start` and `take`."""

    def __init__(self) -> None:
        self._on = False
        self._calls: list[Call] = []
        self._idle: list[Place] = []

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """For sys.setprofile and threading.setprofile."""
        if self._on and event == "call" and _counts(frame):
            code = frame.f_code
            asgi = code.co_name == "__call__" and bool(code.co_flags & inspect.CO_COROUTINE)
            file, thread = code.co_filename.removeprefix(SOURCE), threading.current_thread().name
            self._calls.append(Call(thread, file, code.co_qualname, code.co_firstlineno, _in_store(frame), asgi))

    def start(self) -> None:
        """Once all threads wait."""
        looks, before = 0, None
        while looks < FIRST_IDLE_LOOKS:
            self._idle = _places()
            looks = looks + 1 if self._idle == before else 0
            before = self._idle
            time.sleep(LOOK_S)
        self._on = True

    def take(self) -> list[Call]:
        """What was called since `start`, once the store was called and all threads wait where they did before."""
        looks, end = 0, time.monotonic() + 10
        while looks < IDLE_LOOKS:
            assert time.monotonic() < end, f"waiting in {_places()} instead of {self._idle}"
            stored = any(call.in_store for call in self._calls)
            looks = looks + 1 if stored and _places() == self._idle else 0
            time.sleep(LOOK_S)
        self._on = False
        taken, self._calls = self._calls, []
        return taken


def _places() -> list[Place]:
    """Of each thread inside Parsec, the innermost function of Parsec and the line it is at."""
    places = []
    for frame in sys._current_frames().values():
        inner: FrameType | None = frame
        while inner is not None and not inner.f_code.co_filename.startswith(SOURCE):
            inner = inner.f_back
        if inner is not None:
            places.append((inner.f_code.co_filename, inner.f_code.co_qualname, inner.f_lineno))
    return sorted(places)


def _counts(frame: FrameType) -> bool:
    code = frame.f_code
    if not code.co_filename.startswith(SOURCE) or code.co_name in INLINE:
        return False
    if not code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        return True
    # The operand of RESUME tells the start of a function (0) from going on after a yield or await.
    return code.co_code[frame.f_lasti] == RESUME and code.co_code[frame.f_lasti + 1] & 3 == 0


def _in_store(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(SOURCE + STORE):
            return True
        frame = frame.f_back
    return False


class Driver(threading.Thread):
    """Sends events and questions to the Parsec of the main thread, then ends it. `shortest`: one trace of each kind."""

    def __init__(self, running: Parsec, trace: Trace, rounds: int) -> None:
        super().__init__(name="driver")
        self._running = running
        self._trace = trace
        self._rounds = rounds
        self.shortest: dict[str, list[Call]] = {}
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._wait_ready()
            connection = self._running.connection()
            for turn in range(WARM_UP + self._rounds):
                time.sleep(PAUSE_S if turn >= WARM_UP else 0)
                traces = {"event": self._event(connection, turn)}
                traces |= {name: self._question(connection, turn, q) for name, q in QUESTIONS.items()}
                if turn == WARM_UP:
                    self.shortest = traces
                for name, calls in traces.items():
                    if turn > WARM_UP and _length(calls) < _length(self.shortest[name]):
                        self.shortest[name] = calls
            connection.close()
        except BaseException as error:  # noqa: BLE001 (raised again by the main thread)
            self.failure = error
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _wait_ready(self) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with suppress(OSError):
                if self._running.get("/readyz")[0] == 200:
                    return
            time.sleep(0.05)
        raise AssertionError("not ready within 30 s")

    def _event(self, connection: HTTPConnection, n: int) -> list[Call]:
        event = {
            "id": f"evt-{n}", "tenant_id": TENANT, "timestamp": datetime.now(UTC).isoformat(), "severity": "info",
            "source": "api-1", "message": f"order {n} placed", "metadata": {"status": 200, "user": {"id": n}},
        }  # fmt: skip
        answer, calls = self._traced(connection, "POST", "/ingest", json.dumps(event).encode())
        assert answer["accepted"] == 1, answer
        return calls

    def _question(self, connection: HTTPConnection, n: int, q: str) -> list[Call]:
        """For the event before it, so that it is known to be stored."""
        path = f"/query/events?tenant={TENANT}&limit=10&q=" + quote(q.format(n=n))
        answer, calls = self._traced(connection, "GET", path)
        assert [event["id"] for event in answer["events"]] == [f"evt-{n}"], answer
        return calls

    def _traced(
        self, connection: HTTPConnection, method: str, path: str, body: bytes | None = None
    ) -> tuple[Any, list[Call]]:
        self._trace.start()
        connection.request(method, path, body)
        response = connection.getresponse()
        answer = json.loads(response.read())
        calls = self._trace.take()
        assert response.status == 200, answer
        return answer, calls


def traced(rounds: int) -> dict[str, list[Call]]:
    """The shortest trace of each kind."""
    with tempfile.TemporaryDirectory(prefix="parsec-bench-", dir=os.environ.get("BENCH_DIR")) as directory:
        running = Parsec(Path(directory) / "data")
        settings = {
            "PARSEC_DATA_DIR": str(running.data_dir), "PARSEC_PORT": str(running.port), "PARSEC_LOG_LEVEL": "error",
        }  # fmt: skip
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PARSEC_", "KAFKA_"))}
        trace = Trace()
        driver = Driver(running, trace, rounds)
        driver.start()  # before the profiler, so that it is not traced itself
        threading.setprofile(trace)
        sys.setprofile(trace)
        try:
            with patch.dict(os.environ, kept | settings, clear=True), patch.object(sys, "argv", ["parsec", "serve"]):
                runpy.run_module("parsec", run_name="__main__")
        except SystemExit as ended:
            if ended.code:
                raise
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
            driver.join()
    if driver.failure is not None:
        raise driver.failure
    return driver.shortest


def _length(calls: Sequence[Call]) -> int:
    return sum(not call.in_store for call in calls)


def figures(calls: Iterable[Call]) -> dict[str, float]:
    taken = list(calls)
    return {
        "calls": len(taken),
        "functions": len({(call.file, call.function, call.line) for call in taken}),
        "files": len({call.file for call in taken}),
    }


def by_package(calls: Iterable[Call]) -> dict[str, int]:
    return dict(Counter(str(Path(call.file).parent) for call in calls).most_common())


def show(name: str, calls: Sequence[Call]) -> None:
    """In order; the thread where it changes."""
    thread = ""
    for n, call in enumerate(calls, 1):
        if call.thread != thread:
            thread = call.thread
            print(f"\n{name}, thread {thread}")
        print(f"{n:5d} {'   store ' if call.in_store else ' '}{call.file}:{call.line} {call.function}")
    print()


def main() -> None:
    asked = arguments(__doc__ or "", "--list")
    traces = traced(asked.runs * 5)
    rows: dict[str, dict[str, float]] = {}
    packages: dict[str, dict[str, float]] = {}
    for name, calls in traces.items():
        if asked.list:
            show(name, calls)
        entered = next((n for n, call in enumerate(calls) if call.asgi), 0)
        counted = [call for call in calls[entered:] if not call.in_store]
        rows[name] = figures(counted)
        if entered:
            rows[f"{name}: before the ASGI call"] = figures(calls[:entered])
        rows[f"{name}: in adapters/store"] = figures(call for call in calls if call.in_store)
        packages |= {f"{name}: {package}": {"calls": count} for package, count in by_package(counted).items()}
    publish(rows | packages, asked.json)
    for name, limits in LIMITS.items():
        for what, limit in limits.items():
            found = rows[name][what]
            print(f"{name}: {found:.0f} {what}, limit {limit}: {'holds' if found <= limit else 'EXCEEDED'}")


if __name__ == "__main__":
    main()
