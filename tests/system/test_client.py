"""The clients and the handler of the logging module against the real process, which is killed while they work."""

import asyncio
import json
import logging
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from parsec.client import AsyncClient, Client, ParsecHandler
from tests.support.load import event
from tests.support.process import Parsec


def url(parsec: Parsec) -> str:
    return f"http://127.0.0.1:{parsec.port}"


def test_records_of_the_logging_module_are_found(parsec: Parsec) -> None:
    handler = ParsecHandler(url(parsec), tenant="logging", source="billing")
    logger = logging.Logger("app.db")
    logger.addHandler(handler)
    try:
        for n in range(1_200):
            logger.warning("number %d", n, extra={"order": n, "when": {"day": 1}})
        raise ValueError("too much")
    except ValueError:
        logger.exception("failed")
    handler.close()
    assert (handler.counts.sent, handler.counts.put) == (1_201, 1_201)
    parsec.wait_processed()
    found = parsec.search("logging")
    assert sorted(each["message"] for each in found) == sorted(["failed", *(f"number {n}" for n in range(1_200))])
    (failed,) = parsec.search("logging", q="severity:error metadata.exception.type:ValueError")
    assert failed["source"] == "billing"
    assert failed["metadata"]["exception"]["message"] == "too much"
    assert len(parsec.search("logging", q="metadata.logger:app.db metadata.order:[10 TO 19] severity:warn")) == 10


def test_both_clients_get_the_same_answers(parsec: Parsec) -> None:
    body = json.dumps([event(f"c-{n}", "both", f"line {n}") for n in range(50)]).encode()
    with Client(url(parsec)) as client:
        assert client.send(body).accepted == 50
    parsec.wait_processed()

    async def ask() -> list[object]:
        async with AsyncClient(url(parsec)) as client:
            assert (await client.send(body)).accepted == 50  # the same ids: stored once
            await asyncio.to_thread(parsec.wait_processed)
            pages = [page async for page in client.pages("both", limit=None)]
            return [
                [bytes(each) for page in pages for each in page.events],
                (await client.histogram("both", interval_s=3600)).buckets,
                (await client.aggregate("both", metrics=["count", "max(metadata.latency_ms)"], by=["source"])).groups,
                (await client.fields("both")).fields,
                (await client.values("source", "both")).values,
                bytes((await client.event("c-7", "both")).event),
                [bytes(each) for each in (await client.context("c-7", "both", before=1, after=1)).before],
            ]

    found = asyncio.run(ask())
    with Client(url(parsec)) as client:
        assert found == [
            [bytes(each) for page in client.pages("both", limit=None) for each in page.events],
            client.histogram("both", interval_s=3600).buckets,
            client.aggregate("both", metrics=["count", "max(metadata.latency_ms)"], by=["source"]).groups,
            client.fields("both").fields,
            client.values("source", "both").values,
            bytes(client.event("c-7", "both").event),
            [bytes(each) for each in client.context("c-7", "both", before=1, after=1).before],
        ]
    assert isinstance(found[0], list)
    assert len(found[0]) == 50


@pytest.mark.parametrize("page", ["README.md", "docs/client.md"])
def test_the_handler_is_added_as_the_pages_say(parsec: Parsec, page: str) -> None:
    text = (Path(__file__).parents[2] / page).read_text()
    (lines,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "addHandler" in block]
    code = lines.replace("http://127.0.0.1:8080", url(parsec)) + f"logging.info('as in {page}')\n"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    parsec.wait_processed()
    (found,) = [each for each in parsec.search("acme", q="severity:info") if each["message"] == f"as in {page}"]
    assert found["source"] == "billing"


@pytest.mark.integration
def test_each_record_is_stored_once_though_the_server_is_killed_again_and_again(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", PARSEC_DISK_RESERVE="0") as parsec:
        handler = ParsecHandler(url(parsec), tenant="logging", timeout_s=60.0)
        logger = logging.Logger("app")
        logger.addHandler(handler)
        stop = threading.Event()
        logged = 0

        def log() -> None:
            nonlocal logged
            while not stop.wait(0.001):
                logger.info("number %d", logged)
                logged += 1

        thread = threading.Thread(target=log)
        thread.start()
        for _ in range(5):
            sent = handler.counts.sent
            while handler.counts.sent < sent + 300:
                stop.wait(0.01)
            parsec.kill()
            stop.wait(0.5)
            parsec.start()
        stop.set()
        thread.join()
        assert handler.flush()
        handler.close()
        assert (handler.counts.sent, handler.counts.dropped) == (logged, 0)
        parsec.wait_processed()
        found = [each["message"] for each in parsec.search("logging")]
        assert sorted(found) == sorted(f"number {n}" for n in range(logged))


@pytest.mark.integration
def test_parsec_tail_outlives_its_server(tmp_path: Path) -> None:
    with Parsec(tmp_path / "data", PARSEC_DISK_RESERVE="0", PARSEC_PROCESS_LINGER_MS="100") as parsec:
        command = [sys.executable, "-m", "parsec", "tail", "line", "--url", url(parsec), "--tenant", "t",
                   "--output", "raw"]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tailing:
            assert tailing.stdout is not None
            lines: list[str] = []
            reader = threading.Thread(target=lambda: lines.extend(tailing.stdout or ()))
            reader.start()
            for life in ("first", "second", "third"):
                n = 0
                while not any(line.startswith(f"line of the {life}") for line in lines):
                    assert parsec.ingest(event(f"{life}-{n}", "t", f"line of the {life} {n}"))[0] == 200
                    n += 1
                    reader.join(0.2)
                if life == "first":
                    assert parsec.terminate() == 0
                elif life == "second":
                    parsec.kill()
                if life != "third":
                    parsec.start()
            tailing.send_signal(signal.SIGINT)
            reader.join(30)
            said = tailing.stderr.read() if tailing.stderr else ""
        assert tailing.returncode == 130
    assert said.count("connected again; events stored in the meantime are not shown") == 2
    assert "connecting again in " in said
    assert lines == sorted(set(lines), key=lines.index)


def test_a_tail_sees_what_is_stored_from_now_on(parsec: Parsec) -> None:
    seen: list[str] = []
    with Client(url(parsec)) as client:
        tail = client.tail("tailed", q="line")
        first = threading.Thread(target=lambda: seen.append(_id(next(tail))))
        first.start()
        sent = 0
        while first.is_alive():  # the first that comes after the tail stands
            client.send(json.dumps(event(f"t-{sent}", "tailed", "a line")).encode())
            sent += 1
            first.join(0.2)
        client.send(json.dumps([event("no", "tailed", "other"), event("last", "tailed", "the line")]).encode())
        while seen[-1] != "last":
            seen.append(_id(next(tail)))
        tail.close()
    assert seen[:-1] == [f"t-{n}" for n in range(int(seen[0][2:]), sent)]


def _id(found: object) -> str:
    assert isinstance(found, msgspec.Raw)
    return str(json.loads(bytes(found))["id"])
