"""A client that leaves ends its question in the store, all the way through the real process."""

import socket
import time
from pathlib import Path

from tests.support.process import Parsec
from tests.support.sabotaged import under


def cancelled(parsec: Parsec) -> int:
    _, text = parsec.get("/metrics")
    lines = text.decode().splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("parsec_query_cancelled_total"))))


def test_questions_of_clients_that_left_free_their_turns(tmp_path: Path) -> None:
    """Nothing but that ends them: they may take an hour."""
    with Parsec(tmp_path / "data", under=under("endless"), PARSEC_QUERY_TIMEOUT="1h", PARSEC_QUERY_ROWS="0") as parsec:
        for turn in range(1, 3):
            asking = [socket.create_connection(("127.0.0.1", parsec.port)) for _ in range(2)]
            for each in asking:
                each.sendall(b"GET /query/events?tenant=a HTTP/1.1\r\nHost: x\r\n\r\n")
            end = time.monotonic() + 30
            while parsec.get("/query/fields?tenant=a")[0] != 503:  # both turns of this tenant are taken
                assert time.monotonic() < end
            for each in asking:
                each.close()
            while parsec.get("/query/fields?tenant=a")[0] != 200:
                assert time.monotonic() < end
                time.sleep(0.05)
            assert cancelled(parsec) == 2 * turn
        assert parsec.terminate() == 0
