"""Who is let in, who gives way, and how often an address may ask. Numbers: parsec.web.http1.connection_limiter."""

import pytest

from parsec.telemetry import Telemetry
from parsec.web.http1 import connection_limiter
from parsec.web.http1.connection_limiter import ClientLimits, ConnectionLimiter, address_of
from parsec.web.http1.refusals import REQUEST_RATE, TOO_MANY_CONNECTIONS, TOO_MANY_OF_ADDRESS, Refusal


class Client:
    """A connection that waits since a moment, or is being answered (None)."""

    def __init__(self, since: float | None) -> None:
        self.since = since
        self.gone = False

    def idle_s(self, now: float) -> float:
        return 0.0 if self.since is None else now - self.since

    def evict(self) -> None:
        self.gone, self.since = True, None


def a_gate(connections: int = 40, per_address: int = 0, requests: float = 0.0) -> ConnectionLimiter:
    limits = ClientLimits(
        connections=connections,
        connections_per_address=per_address,
        requests_per_address=requests,
        head_timeout_s=1.0,
        body_timeout_s=1.0,
        min_rate=0.0,
        send_timeout_s=1.0,
        max_head_bytes=4096,
        max_url_bytes=4096,
    )
    return ConnectionLimiter(limits, Telemetry())


def full(of: ConnectionLimiter, *since: float | None) -> list[Client]:
    clients = [Client(each) for each in since]
    for _ in clients:
        assert of.admit("a", clients, 0.0) is None
    return clients


def test_at_the_bound_the_longest_waiting_give_way() -> None:  # 2
    one = a_gate(200)
    clients = full(one, *[float(n) for n in range(200)])
    assert one.admit("b", clients, 1000.0) is None
    assert [n for n, client in enumerate(clients) if client.gone] == list(range(10))
    for _ in range(9):  # what room is left
        assert one.admit("c", clients, 1000.0) is None
    assert one.admit("d", clients, 1000.0) is TOO_MANY_CONNECTIONS  # it has just been looked
    assert one.admit("d", clients, 1000.2) is None
    assert sum(client.gone for client in clients) == 20
    for _ in range(20):
        one.release("a", evicted=True)
    for _ in range(9):
        assert one.admit("e", [], 1000.3) is None
    assert one.admit("e", [], 1000.3) is TOO_MANY_CONNECTIONS


def test_nobody_gives_way_who_is_answered_or_has_just_come() -> None:  # 2
    one = a_gate(4)
    clients = full(one, None, None, 99.5, 99.9)
    assert one.admit("b", clients, 100.0) is TOO_MANY_CONNECTIONS
    assert not any(client.gone for client in clients)
    one.release("a", evicted=False)
    assert one.admit("b", clients, 100.0) is None


def test_a_flood_of_refused_clients_is_not_waited_for() -> None:  # 1
    one = a_gate(1)
    full(one, None)
    for _ in range(connection_limiter.MAX_LINGERING):
        assert one.admit("b", [], 0.0) is TOO_MANY_CONNECTIONS
        assert one.may_linger()
    one.admit("b", [], 0.0)
    assert not one.may_linger()
    one.release_refused()
    assert one.may_linger()


def test_connections_of_one_address_are_bounded_and_forgotten() -> None:
    one = a_gate(per_address=2)
    answers = [one.admit(address, [], 0.0) for address in ("a", "a", "a", "b")]
    assert answers == [None, None, TOO_MANY_OF_ADDRESS, None]
    one.release_refused()
    one.release("a", evicted=False)
    assert one.admit("a", [], 0.0) is None
    for address in ("a", "a", "b"):
        one.release(address, evicted=False)
    assert not one._of_address


def test_requests_of_one_address_are_bounded() -> None:
    one = a_gate(requests=3)

    def asked(address: str, now: float, times: int) -> list[Refusal | None]:
        return [one.admit_request(address, now) for _ in range(times)]

    assert asked("a", 0.0, 5) == [None] * 3 + [REQUEST_RATE] * 2
    assert asked("b", 0.0, 1) == [None]
    assert asked("a", 1 / 3 + 0.01, 2) == [None, REQUEST_RATE]
    assert asked("a", 60.0, 5) == [None] * 3 + [REQUEST_RATE] * 2


def test_what_is_kept_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:  # 3
    monkeypatch.setattr(connection_limiter, "MAX_ADDRESSES", 10)
    one = a_gate(requests=1)
    for n in range(100):
        one.admit_request(str(n), 0.0)
    assert len(one._allowances) == 10


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_an_address_is_what_one_customer_gets(host: str, address: str) -> None:
    assert address_of((host, 1)) == address
    assert address_of(None) == ""
