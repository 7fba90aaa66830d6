"""A client that is closed under a call takes the process with it, and one that does not close may not keep it."""

import threading

import pytest

from parsec.adapters.kafka.hang_detector import SharedClient, bounded_close
from parsec.core.errors import Retryable


def test_what_does_not_close_is_left_behind() -> None:
    go, closed = threading.Event(), threading.Event()

    def close() -> None:
        go.wait(30)
        closed.set()

    bounded_close(close, 0.01)
    assert not closed.is_set()
    go.set()
    assert closed.wait(30)


def test_it_is_closed_when_the_last_user_is_done() -> None:
    closed = threading.Event()
    shared = SharedClient("client", lambda _: closed.set())
    with shared.borrow() as first:
        assert first == "client"
        with shared.borrow():
            shared.close(0.0)
        assert not closed.is_set()
    assert closed.wait(30)
    with pytest.raises(Retryable), shared.borrow():
        pass


def test_without_users_it_is_closed_at_once() -> None:
    closed: list[str] = []
    SharedClient("client", closed.append).close(30)
    assert closed == ["client"]
