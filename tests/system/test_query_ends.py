"""A client that leaves ends its question in the store, all the way through the real process."""

import select
import socket
import time
from pathlib import Path

from tests.support.process import Parsec
from tests.support.sabotaged import under


def cancelled(parsec: Parsec) -> int:
    _, text = parsec.get("/metrics")
    lines = text.decode().splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("parsec_query_cancelled_total"))))


def endless(parsec: Parsec) -> socket.socket:
    """A client that asks what takes an hour."""
    client = socket.create_connection(("127.0.0.1", parsec.port))
    client.sendall(b"GET /query/events?tenant=a HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return client


def test_questions_of_clients_that_left_free_their_turns(tmp_path: Path) -> None:
    """Nothing but that ends them: they may take an hour."""
    with Parsec(tmp_path / "data", under=under("endless"), PARSEC_QUERY_TIMEOUT="1h") as parsec:
        for turn in range(1, 3):
            asking = [endless(parsec), endless(parsec)]
            end = time.monotonic() + 30
            looks = 0
            while looks < 3:  # both turns of this tenant are taken, and by these, not by what is still ending
                assert time.monotonic() < end
                refused = select.select(asking, [], [], 0.1)[0]
                for each in refused:
                    each.close()
                    asking[asking.index(each)] = endless(parsec)
                taken = parsec.get("/query/fields?tenant=a")[0] == 503
                looks = looks + 1 if taken and not refused else 0
            for each in asking:
                each.close()
            while cancelled(parsec) < 2 * turn or parsec.get("/query/fields?tenant=a")[0] != 200:
                assert time.monotonic() < end
                time.sleep(0.05)
            assert cancelled(parsec) == 2 * turn
        assert parsec.terminate() == 0
