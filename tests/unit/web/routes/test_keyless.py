"""Who is remembered as sending without a key, for how long, and how many of them."""

import pytest
import structlog
from structlog.testing import LogCapture

from parsec.telemetry import Telemetry
from parsec.web.routes import keyless
from parsec.web.routes.keyless import MINUTES, SENDERS_PER_MINUTE, SHOWN_SENDERS, KeylessSenders


def minute(senders: KeylessSenders) -> None:
    for _ in range(6):
        senders.tick()


def test_senders_are_listed_by_tenant_address_and_program_the_busiest_first() -> None:
    telemetry = Telemetry()
    senders = KeylessSenders(telemetry, "required")
    for _ in range(3):
        senders.note("127.0.0.1", b"curl/8.5", ("acme",))
    senders.note("127.0.0.1", b"fluent-bit", ("acme", "globex"))
    senders.note("10.0.0.7", b"", ())
    found = senders.recent()
    assert (found.auth, found.requests, found.others) == ("required", 6, 0)
    assert [(each.tenant, each.address, each.user_agent, each.requests) for each in found.senders] == [
        ("acme", "127.0.0.1", "curl/8.5", 3),
        ("acme", "127.0.0.1", "fluent-bit", 1),
        ("globex", "127.0.0.1", "fluent-bit", 1),
        ("", "10.0.0.7", "", 1),
    ]
    assert telemetry.value("parsec_http_keyless_requests_total") == 5


def test_they_are_forgotten_after_some_minutes() -> None:
    senders = KeylessSenders(Telemetry(), "required")
    senders.note("127.0.0.1", b"curl", ("acme",))
    for _ in range(MINUTES - 1):
        minute(senders)
        assert senders.recent().requests == 1
    minute(senders)
    assert senders.recent().senders == []


def test_memory_is_bounded_and_what_is_too_much_is_counted() -> None:
    senders = KeylessSenders(Telemetry(), "required")
    for n in range(3 * SENDERS_PER_MINUTE):
        senders.note(f"address-{n}", b"x" * 10_000, ("acme",))
    assert len(senders._page) <= SENDERS_PER_MINUTE + 1
    assert max(len(agent) for _, _, agent in senders._page) <= 100
    found = senders.recent()
    assert (found.requests, len(found.senders)) == (3 * SENDERS_PER_MINUTE, SHOWN_SENDERS)
    assert found.others == 3 * SENDERS_PER_MINUTE - SHOWN_SENDERS
    senders.note("address-0", b"x" * 10_000, [f"tenant-{n}" for n in range(10_000)])
    assert senders.recent().requests == 3 * SENDERS_PER_MINUTE + 10


@pytest.mark.parametrize(("auth", "lines"), [("required", 0), ("off", 0), ("warn", 2)])
def test_a_warning_is_logged_once_in_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, auth: keyless.Auth, lines: int
) -> None:
    captured = LogCapture()
    log = structlog.wrap_logger(None, [captured], wrapper_class=structlog.BoundLogger)
    monkeypatch.setattr(keyless, "_log", log)
    senders = KeylessSenders(Telemetry(), auth)
    for _ in range(2):
        for _ in range(100):
            senders.note("127.0.0.1", b"curl", ("acme",))
        senders.tick()
    assert len(captured.entries) == lines
    for entry in captured.entries:
        assert (entry["tenant"], entry["address"], entry["user_agent"]) == ("acme", "127.0.0.1", "curl")
