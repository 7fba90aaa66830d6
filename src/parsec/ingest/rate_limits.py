"""Rate limits per tenant: a token bucket of events and one of bytes for each, in bounded memory.

In: tenants, and the events and bytes of their requests. Out: None, or `Spent` with the time to wait. Errors: none.
Next: parsec.ingest.channel.

Invariants, cited by tests
1. A request is admitted while all buckets that it draws on have something left, and is then charged in full, so a
   tenant overdraws by one request at most. A refused request is charged nothing.
2. At most MAX_BUDGETS are held, plus those of tenants that the settings name. A full budget is dropped first. While
   none is full, tenants without a budget share one of the default size, so that no made-up name gets its own burst.
3. With shared rates a bucket is filled by leases only, and credit is repaid with the next lease.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from parsec.core.clock import Clock
from parsec.ports.rate_leases import Leased, Want

WHOLE = 1.0
"""The least that a bucket must hold for a request to pass: one event, one byte."""


class Rate(msgspec.Struct, frozen=True):
    """`burst` is what a full bucket holds, at least 1; `per_s` is above 0."""

    per_s: float
    burst: float


class Bucket:
    """The tokens left of one rate. A request takes its tokens at once, however many, and `level` may go below 0: a
    request larger than the burst passes, too, and one can be refused before it is decoded.

    `now`: monotonic seconds. `share`: the part of the rate that this process grants itself; 0 when it is leased.
    `owed`: credit, which is part of the level and has to be leased yet.

    Invariants, cited by tests: in any time t, takers that respect `may_take` take less than burst + per_s * t + the
    largest amount taken at once; after `wait_s` in which nothing is taken, `may_take` is true.
    """

    __slots__ = ("_at", "level", "owed", "rate")

    def __init__(self, rate: Rate, level: float, now: float, owed: float = 0.0) -> None:
        self.rate = rate
        self.level = level
        self.owed = owed
        self._at = now

    def fill(self, now: float, share: float) -> None:
        """Adds the tokens of the time since the last call, up to the burst of the share."""
        room = max(WHOLE, self.rate.burst * share) - self.level
        if share and room > 0:
            self.level += min(room, (now - self._at) * self.rate.per_s * share)
        self._at = now

    def may_take(self) -> bool:
        return self.level >= WHOLE

    def take(self, amount: float) -> None:
        self.level -= amount

    def wait_s(self, share: float) -> float:
        """Until `may_take`, at this share of the rate; 0 for now."""
        return max(0.0, WHOLE - self.level) / (self.rate.per_s * share)

    def may_be_dropped(self, share: float) -> bool:
        """A new bucket in its place would not hold more."""
        return not self.owed and self.level >= (max(WHOLE, self.rate.burst * share) if share else 0)

    def change(self, rate: Rate) -> None:
        """Another rate from now on; the level stays, up to the new burst."""
        self.rate = rate
        self.level = min(self.level, rate.burst)


MAX_BUDGETS = 10_000
PRESSED_S = 1.0
"""After a refusal the tenants of a body are read before it is decoded, for so long."""

DROP_ATTEMPTS = 4
"""Budgets that are tried when one has to be dropped; those used longest ago are the fullest."""

LEASED_SHARE, LEASED_S = 0.25, 0.1
"""Tokens that a process leases ahead: a quarter of the burst, at least a tenth of a second of the rate."""

OTHERS = "-"
"""The name of the budget that tenants share; no tenant can have this name."""


What = Literal["events", "bytes"]


class Allowance(msgspec.Struct, frozen=True):
    """What one tenant may send; None: without a limit."""

    events: Rate | None = None
    bytes: Rate | None = None

    def rates(self) -> Sequence[tuple[What, Rate | None]]:
        return ("events", self.events), ("bytes", self.bytes)


UNLIMITED = Allowance()


class Policy(msgspec.Struct, frozen=True):
    """The default allowance, and those of tenants that have one of their own."""

    default: Allowance = UNLIMITED
    tenants: Mapping[str, Allowance] = {}

    def of(self, tenant: str) -> Allowance:
        return self.tenants.get(tenant, self.default)

    @property
    def is_unlimited(self) -> bool:
        return all(one == UNLIMITED for one in (self.default, *self.tenants.values()))


class Spent(msgspec.Struct, frozen=True):
    """Why a request is refused: the tenant has used up its events or bytes for `wait_s` seconds."""

    tenant: str
    what: What
    rate: Rate
    wait_s: float

    @property
    def retry_after_s(self) -> int:
        return max(1, math.ceil(self.wait_s))


class Budget:
    """The buckets of one tenant. `name`: the tenant, also in leases."""

    __slots__ = ("buckets", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.buckets: dict[What, Bucket] = {}


class TenantLimits:
    """Used on the event loop only. `active`: at least one tenant has a limit."""

    def __init__(self, policy: Policy, clock: Clock, *, shared: bool = False) -> None:
        """`shared`: the rates are those of all processes together, of which parsec.ingest.rate_lease leases a part."""
        self._clock = clock
        self._shared = shared
        self._share = 0.0 if shared else 1.0
        self._refused_at = float("-inf")
        self._processes = 1
        self._budgets: OrderedDict[str, Budget] = OrderedDict()
        self._of_others = Budget(OTHERS)
        self._short: set[Budget] = set()
        self._asked: list[tuple[Budget, What, float]] = []
        self.change(policy)

    def change(self, policy: Policy) -> None:
        """Other allowances from now on; the levels of budgets stay."""
        self._policy = policy
        self.active = not policy.is_unlimited
        for tenant in list(self._budgets):
            if policy.of(tenant) == UNLIMITED:
                del self._budgets[tenant]
            else:
                self._fit(self._budgets[tenant], policy.of(tenant))
        self._fit(self._of_others, policy.default)

    def spent(self, tenant: str) -> Spent | None:
        """Why a request of this tenant is refused now; None for none, or when the tenant ('') is unknown yet."""
        budget = self._budget(tenant) if tenant else None
        if budget is None:
            return None
        found = None
        for what, bucket in budget.buckets.items():
            if not bucket.may_take():
                wait_s = bucket.wait_s(1 / self._processes)
                if found is None or found.wait_s < wait_s:
                    found = Spent(tenant, what, bucket.rate, wait_s)
        if found is not None:
            self._refused_at = self._clock.monotonic()
            self._lease_if_short(budget)
        return found

    def is_pressed(self) -> bool:
        """Whether a tenant was refused a moment ago, so that the same may be about to happen again."""
        return self._clock.monotonic() - self._refused_at < PRESSED_S

    def refusal(self, tenants: Iterable[str]) -> Spent | None:
        """Why a request with events of these tenants is refused: the longest wait, or None."""
        found = [spent for tenant in tenants if (spent := self.spent(tenant)) is not None]
        return max(found, key=lambda spent: spent.wait_s) if found else None

    def take(self, events_by_tenant: Mapping[str, int], size_bytes: int) -> None:
        """Charges a request: each tenant its events, and their part of its bytes."""
        total = sum(events_by_tenant.values())
        for tenant, events in events_by_tenant.items():
            budget = self._budgets.get(tenant) or self._new(tenant)
            if budget is not None:
                for what, bucket in budget.buckets.items():
                    bucket.take(events if what == "events" else size_bytes * events // total)
                self._lease_if_short(budget)

    # Leases. Requests go on being charged between `wants` and its answer, `leased` or `lease_failed`.

    def wants(self) -> list[Want]:
        """What to lease now; empty while no budget is short."""
        now = self._clock.monotonic()
        self._asked.clear()
        asked: list[Want] = []
        for budget in self._short:
            for what, bucket in budget.buckets.items():
                bucket.fill(now, self._share)
                wanted = max(0.0, _leased_ahead(bucket.rate) - bucket.level)
                asked.append(Want(f"{what}:{budget.name}", bucket.rate.per_s, bucket.rate.burst, bucket.owed, wanted))
                self._asked.append((budget, what, bucket.owed))
        self._short.clear()
        return asked

    def leased(self, leased: Leased) -> None:
        """The answer to `wants`."""
        self._processes = max(1, leased.processes)
        self._share = 0.0
        for (budget, what, owed), amount in zip(self._asked, leased.amounts, strict=True):
            bucket = budget.buckets.get(what)
            if bucket is not None:
                bucket.level += amount
                bucket.owed -= owed
                if not bucket.may_take():
                    self._short.add(budget)

    def lease_failed(self) -> None:
        """The other answer: until leases are back, this process grants itself its part of each rate."""
        self._share = 1 / self._processes
        self._short.update(budget for budget, _, _ in self._asked)

    def _budget(self, tenant: str) -> Budget | None:
        """With its tokens of now; None without a limit."""
        budget = self._budgets.get(tenant)
        if budget is None:
            budget = self._new(tenant)
            if budget is None:
                return None
        else:
            self._budgets.move_to_end(tenant)
        self._fill(budget)
        return budget

    def _fill(self, budget: Budget) -> None:
        now = self._clock.monotonic()
        for bucket in budget.buckets.values():
            bucket.fill(now, self._share)

    def _new(self, tenant: str) -> Budget | None:
        allowance = self._policy.of(tenant)
        if allowance == UNLIMITED:
            return None
        if not self._has_place(tenant):
            return self._of_others
        budget = self._budgets[tenant] = Budget(tenant)
        self._fit(budget, allowance)
        return budget

    def _has_place(self, tenant: str) -> bool:
        if len(self._budgets) < MAX_BUDGETS or tenant in self._policy.tenants:
            return True
        for _ in range(DROP_ATTEMPTS):
            name, budget = self._budgets.popitem(last=False)
            self._fill(budget)
            if all(bucket.may_be_dropped(self._share) for bucket in budget.buckets.values()):
                return True
            self._budgets[name] = budget
        return False

    def _fit(self, budget: Budget, allowance: Allowance) -> None:
        """Gives the budget the buckets of this allowance; a new bucket begins full."""
        now = self._clock.monotonic()
        for what, rate in allowance.rates():
            bucket = budget.buckets.get(what)
            if rate is None:
                budget.buckets.pop(what, None)
            elif bucket is not None:
                bucket.change(rate)
            else:
                level = max(WHOLE, _leased_ahead(rate) / self._processes) if self._shared else rate.burst
                owed = level if self._shared else 0.0
                budget.buckets[what] = Bucket(rate, level, now, owed)
                if self._shared:
                    self._short.add(budget)

    def _lease_if_short(self, budget: Budget) -> None:
        """The budget is short once half of what a process leases ahead is used."""
        if self._shared and any(bucket.level < _leased_ahead(bucket.rate) / 2 for bucket in budget.buckets.values()):
            self._short.add(budget)


def _leased_ahead(rate: Rate) -> float:
    return max(WHOLE, rate.burst * LEASED_SHARE, rate.per_s * LEASED_S)
