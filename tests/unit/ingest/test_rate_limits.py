"""Limits of tenants: who is refused, for how long, and what is charged. Numbers cite parsec.ingest.rate_limits."""

from collections.abc import Mapping, Sequence

import pytest

from parsec.ingest import rate_limits as module
from parsec.ingest.rate_limits import Allowance, Policy, Rate, Spent, TenantLimits
from tests.support.manual_clock import ManualClock

TEN = Allowance(events=Rate(10, 20))


class Subject:
    """Limits under test, and the clock they go by."""

    def __init__(self, policy: Policy) -> None:
        self.clock = ManualClock()
        self.limits = TenantLimits(policy, self.clock)

    def ask(self, events_by_tenant: Mapping[str, int], size: int) -> Spent | None:
        """As admission does: charged unless refused."""
        spent = self.limits.refusal(events_by_tenant)
        if spent is None:
            self.limits.take(events_by_tenant, size)
        return spent

    def send(self, tenant: str, events: int = 1, size: int = 100) -> bool:
        return self.ask({tenant: events}, size) is None


def test_a_tenant_has_its_burst_and_then_its_rate() -> None:
    subject = Subject(Policy(TEN))
    assert [subject.send("acme") for _ in range(25)] == [True] * 20 + [False] * 5
    subject.clock.advance(1)
    assert [subject.send("acme") for _ in range(15)] == [True] * 10 + [False] * 5


def test_a_long_rest_saves_up_one_burst() -> None:
    subject = Subject(Policy(TEN))
    assert subject.send("acme")
    subject.clock.advance(1000)
    assert [subject.send("acme") for _ in range(25)] == [True] * 20 + [False] * 5


def test_1_a_request_larger_than_the_burst_is_taken_and_owed() -> None:
    subject = Subject(Policy(TEN))
    assert subject.send("acme", events=1000)
    spent = subject.ask({"acme": 1}, 1)
    assert spent is not None
    assert (spent.what, spent.retry_after_s) == ("events", 99)
    subject.clock.advance(spent.retry_after_s)
    assert subject.send("acme")


def test_after_the_time_that_was_told_there_is_something_to_take() -> None:
    subject = Subject(Policy(Allowance(events=Rate(0.3, 1), bytes=Rate(7, 1000))))
    for _ in range(20):
        spent = subject.ask({"acme": 3}, 500)
        if spent is not None:
            assert spent.wait_s > 0
            subject.clock.advance(spent.wait_s + 1e-9)
            assert subject.ask({"acme": 3}, 500) is None


def test_bytes_and_events_are_counted_each() -> None:
    subject = Subject(Policy(Allowance(events=Rate(1, 100), bytes=Rate(1000, 1000))))
    assert subject.send("acme", events=1, size=1000)
    spent = subject.ask({"acme": 1}, 1)
    assert spent is not None
    assert spent.what == "bytes"
    assert spent.rate == Rate(1000, 1000)


def test_one_tenant_takes_nothing_of_another() -> None:
    subject = Subject(Policy(TEN))
    assert not all(subject.send("flood") for _ in range(1000))
    assert all(subject.send("acme") for _ in range(20))


def test_a_tenant_of_the_settings_has_its_own_and_may_have_none() -> None:
    subject = Subject(Policy(TEN, {"big": Allowance(events=Rate(10, 1000)), "free": Allowance()}))
    assert all(subject.send("big") for _ in range(1000))
    assert not subject.send("big")
    assert all(subject.send("free", events=10_000) for _ in range(100))


def test_nobody_is_limited_by_default() -> None:
    subject = Subject(Policy())
    assert all(subject.send("acme", events=10_000, size=1 << 24) for _ in range(100))
    assert not subject.limits.active


def test_1_of_several_tenants_one_without_budget_refuses_and_nobody_is_charged() -> None:
    subject = Subject(Policy(TEN))
    assert subject.send("flood", events=100)
    for _ in range(100):
        spent = subject.ask({"acme": 1, "flood": 1}, 2)
        assert spent is not None
        assert spent.tenant == "flood"
    assert all(subject.send("acme") for _ in range(20))


def test_a_request_weighs_on_each_tenant_by_its_events() -> None:
    subject = Subject(Policy(Allowance(events=Rate(1, 4))))
    assert subject.ask({"acme": 3, "other": 1}, 1000) is None
    assert [subject.send("acme") for _ in range(2)] == [True, False]
    assert [subject.send("other") for _ in range(4)] == [True, True, True, False]
    subject = Subject(Policy(Allowance(bytes=Rate(1, 1000))))
    assert subject.ask({"acme": 3, "other": 1}, 1000) is None
    assert [subject.send("acme", size=size) for size in (249, 1, 1)] == [True, True, False]
    assert [subject.send("other", size=size) for size in (749, 1, 1)] == [True, True, False]


def test_a_look_before_the_body_is_read_charges_nothing() -> None:
    subject = Subject(Policy(TEN))
    assert all(subject.limits.spent("acme") is None for _ in range(100))
    assert subject.send("acme", events=20)
    assert subject.limits.spent("acme") is not None
    assert subject.limits.spent("") is None


def names(count: int) -> Sequence[str]:
    return [f"made-up-{n}" for n in range(count)]


def test_2_made_up_names_are_held_in_bounded_memory_without_a_burst_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BUDGETS", 100)
    subject = Subject(Policy(TEN, {"big": Allowance(events=Rate(10, 1000))}))
    taken = sum(subject.send(name) for name in names(10_000) for _ in range(20))
    assert taken <= 100 * 20 + 20
    assert len(subject.limits._budgets) <= 100
    assert all(subject.send("big") for _ in range(1000))


def test_2_full_budgets_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BUDGETS", 100)
    subject = Subject(Policy(TEN))
    for name in names(100):
        assert subject.send(name, events=20)
    subject.clock.advance(2)
    assert sum(subject.send("acme") for _ in range(30)) == 20
    assert len(subject.limits._budgets) <= 100


def test_2_who_owes_is_not_forgotten_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BUDGETS", 100)
    subject = Subject(Policy(TEN))
    assert subject.send("flood", events=100_000)
    subject.clock.advance(100)
    for name in names(1000):
        subject.send(name)
        subject.clock.advance(3)
    assert not subject.send("flood")


def test_other_limits_hold_at_once_and_hand_out_no_new_burst() -> None:
    subject = Subject(Policy(TEN))
    assert subject.send("acme", events=20)
    subject.limits.change(Policy(Allowance(events=Rate(5, 1000))))
    assert not subject.send("acme")
    subject.clock.advance(1)
    assert [subject.send("acme") for _ in range(6)] == [True] * 5 + [False]
    subject.limits.change(Policy())
    assert subject.send("acme", events=1000)


def test_a_smaller_burst_cuts_what_was_saved_up() -> None:
    subject = Subject(Policy(Allowance(events=Rate(5, 1000))))
    assert subject.send("acme")
    subject.limits.change(Policy(TEN))
    assert [subject.send("acme") for _ in range(21)] == [True] * 20 + [False]
