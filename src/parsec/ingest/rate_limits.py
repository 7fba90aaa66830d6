"""What each tenant may still send: a bucket of events and one of bytes for each, in bounded memory.

In: tenants, and what their requests weigh. Out: yes, or `Spent` with the time to wait. Errors: none.
Next: parsec.ingest.channel.

Invariants, cited by tests
1. A request is taken while all budgets that it draws on have something left, and is then charged in full, so a tenant
   overdraws by one request at most. Who is refused is charged nothing.
2. At most MOST_BUDGETS are held, and those of tenants that the settings name. A budget that is full is forgotten first;
   while none is, tenants without one share one of the default size, so that no made-up name gets a burst of its own.
3. With leases nothing comes by itself, and what was given on credit is asked for with the next lease.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from parsec.core.clock import Clock
from parsec.ports.rate_leases import Leased, Want

WHOLE = 1.0
"""What must be left for anything to be taken: one event, one byte."""


class Rate(msgspec.Struct, frozen=True):
    """`burst` is what a full bucket holds, at least 1; `per_s` is above 0."""

    per_s: float
    burst: float


class Bucket:
    """What is left of one rate. A request is taken in one piece, however large, and `level` may go below 0: so one that
    is larger than the burst passes, too, and to refuse one nobody has to look into it.

    `now`: seconds that never go back. `share`: the part of the rate that comes by itself; 0 where it is leased.
    `owed`: what of the level was given on credit and has to be leased yet.

    Invariants, cited by tests: whoever takes only when `may_take` says so takes, in any time t, less than
    burst + per_s * t + the largest amount taken; after `wait_s` in which nothing is taken, `may_take` says yes.
    """

    __slots__ = ("_at", "level", "owed", "rate")

    def __init__(self, rate: Rate, level: float, now: float, owed: float = 0.0) -> None:
        self.rate = rate
        self.level = level
        self.owed = owed
        self._at = now

    def fill(self, now: float, share: float) -> None:
        """Puts in what the time since the last call is worth, up to the share's burst."""
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

    def may_be_forgotten(self, share: float) -> bool:
        """Whoever begins anew instead gains nothing."""
        return not self.owed and self.level >= (max(WHOLE, self.rate.burst * share) if share else 0)

    def change(self, rate: Rate) -> None:
        """Another rate from now on; what is left stays, as far as the new burst goes."""
        self.rate = rate
        self.level = min(self.level, rate.burst)


MOST_BUDGETS = 10_000
PRESSED_S = 1.0
"""For how long after a refusal bodies are looked into for whose they are, before they are read."""

LOOKED_AT = 4
"""Budgets that are tried when one has to be forgotten; the ones used longest ago are the fullest."""

HELD_SHARE, HELD_S = 0.25, 0.1
"""What a process wants to have leased of a rate: a quarter of the burst, at least a tenth of a second's worth."""

STRANGERS = "-"
"""In the place of a tenant's name; no tenant can have this one."""


What = Literal["events", "bytes"]


class Allowance(msgspec.Struct, frozen=True):
    """What one tenant may send; None: as much as it likes."""

    events: Rate | None = None
    bytes: Rate | None = None

    def rates(self) -> Sequence[tuple[What, Rate | None]]:
        return ("events", self.events), ("bytes", self.bytes)


UNLIMITED = Allowance()


class Policy(msgspec.Struct, frozen=True):
    """The allowance of everybody, and of those who have one of their own."""

    default: Allowance = UNLIMITED
    tenants: Mapping[str, Allowance] = {}

    def of(self, tenant: str) -> Allowance:
        return self.tenants.get(tenant, self.default)

    @property
    def limits_nobody(self) -> bool:
        return all(one == UNLIMITED for one in (self.default, *self.tenants.values()))


class Spent(msgspec.Struct, frozen=True):
    """Why a request is refused: this budget of this tenant is used up for `wait_s` seconds."""

    tenant: str
    what: What
    rate: Rate
    wait_s: float

    @property
    def retry_after_s(self) -> int:
        return max(1, math.ceil(self.wait_s))


class Budget:
    """The buckets of one tenant; `name` is that of the leases, too."""

    __slots__ = ("buckets", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.buckets: dict[What, Bucket] = {}


class TenantLimits:
    """Used by the event loop's thread only."""

    def __init__(self, policy: Policy, clock: Clock, *, shared: bool = False) -> None:
        """`shared`: the rates are those of all processes together; parsec.ingest.rate_lease brings what this one
        gets."""
        self._clock = clock
        self._shared = shared
        self._share = 0.0 if shared else 1.0
        self._refused_at = float("-inf")
        self._processes = 1
        self._budgets: OrderedDict[str, Budget] = OrderedDict()
        self._strangers = Budget(STRANGERS)
        self._short: set[Budget] = set()
        self._asked: list[tuple[Budget, What, float]] = []
        self.change(policy)

    def change(self, policy: Policy) -> None:
        """Other allowances from now on; what is left of a budget stays."""
        self._policy = policy
        self.active = not policy.limits_nobody
        for tenant in list(self._budgets):
            if policy.of(tenant) == UNLIMITED:
                del self._budgets[tenant]
            else:
                self._fit(self._budgets[tenant], policy.of(tenant))
        self._fit(self._strangers, policy.default)

    def spent(self, tenant: str) -> Spent | None:
        """Why a request of this tenant is refused now. None: go on, or the tenant ('') is unknown yet."""
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
            self._ask_for(budget)
        return found

    def is_pressed(self) -> bool:
        """Whether a tenant was refused a moment ago, so that the same may be about to happen again."""
        return self._clock.monotonic() - self._refused_at < PRESSED_S

    def refusal(self, tenants: Iterable[str]) -> Spent | None:
        """Why a request with events of these tenants is refused: the longest wait. None: go on."""
        found = [spent for tenant in tenants if (spent := self.spent(tenant)) is not None]
        return max(found, key=lambda spent: spent.wait_s) if found else None

    def take(self, events_by_tenant: Mapping[str, int], size_bytes: int) -> None:
        """Charges an admitted request, or one that was decoded in vain; its bytes are divided as its events are."""
        total = sum(events_by_tenant.values())
        for tenant, events in events_by_tenant.items():
            budget = self._budgets.get(tenant) or self._new(tenant)
            if budget is not None:
                for what, bucket in budget.buckets.items():
                    bucket.take(events if what == "events" else size_bytes * events // total)
                self._ask_for(budget)

    # What is leased. Between `wants` and its answer, `leased` or `on_our_own`, events go on being taken.

    def wants(self) -> list[Want]:
        """What to lease now; empty as long as nobody is short of anything."""
        now = self._clock.monotonic()
        self._asked.clear()
        asked: list[Want] = []
        for budget in self._short:
            for what, bucket in budget.buckets.items():
                bucket.fill(now, self._share)
                wanted = max(0.0, _held(bucket.rate) - bucket.level)
                asked.append(Want(f"{what}:{budget.name}", bucket.rate.per_s, bucket.rate.burst, bucket.owed, wanted))
                self._asked.append((budget, what, bucket.owed))
        self._short.clear()
        return asked

    def leased(self, leased: Leased) -> None:
        """What came of `wants`."""
        self._processes = max(1, leased.processes)
        self._share = 0.0
        for (budget, what, owed), amount in zip(self._asked, leased.amounts, strict=True):
            bucket = budget.buckets.get(what)
            if bucket is not None:
                bucket.level += amount
                bucket.owed -= owed
                if not bucket.may_take():
                    self._short.add(budget)

    def on_our_own(self) -> None:
        """No leases now: until there are, this process gives itself its part of each rate."""
        self._share = 1 / self._processes
        self._short.update(budget for budget, _, _ in self._asked)

    def _budget(self, tenant: str) -> Budget | None:
        """With what is left of it now; None: no limit."""
        budget = self._budgets.get(tenant)
        if budget is None:
            budget = self._new(tenant)
            if budget is None:
                return None
        else:
            self._budgets.move_to_end(tenant)
        now = self._clock.monotonic()
        for bucket in budget.buckets.values():
            bucket.fill(now, self._share)
        return budget

    def _new(self, tenant: str) -> Budget | None:
        allowance = self._policy.of(tenant)
        if allowance == UNLIMITED:
            return None
        if not self._has_place(tenant):
            return self._strangers
        budget = self._budgets[tenant] = Budget(tenant)
        self._fit(budget, allowance)
        return budget

    def _has_place(self, tenant: str) -> bool:
        if len(self._budgets) < MOST_BUDGETS or tenant in self._policy.tenants:
            return True
        now = self._clock.monotonic()
        for _ in range(LOOKED_AT):
            name, budget = self._budgets.popitem(last=False)
            for bucket in budget.buckets.values():
                bucket.fill(now, self._share)
            if all(bucket.may_be_forgotten(self._share) for bucket in budget.buckets.values()):
                return True
            self._budgets[name] = budget
        return False

    def _fit(self, budget: Budget, allowance: Allowance) -> None:
        """Its buckets are those of this allowance from now on; a new one begins full."""
        now = self._clock.monotonic()
        for what, rate in allowance.rates():
            bucket = budget.buckets.get(what)
            if rate is None:
                budget.buckets.pop(what, None)
            elif bucket is not None:
                bucket.change(rate)
            else:
                level = max(WHOLE, _held(rate) / self._processes) if self._shared else rate.burst
                owed = level if self._shared else 0.0
                budget.buckets[what] = Bucket(rate, level, now, owed)
                if self._shared:
                    self._short.add(budget)

    def _ask_for(self, budget: Budget) -> None:
        """Remembers who is short, once half of what a process wants to hold is used."""
        if self._shared and any(bucket.level < _held(bucket.rate) / 2 for bucket in budget.buckets.values()):
            self._short.add(budget)


def _held(rate: Rate) -> float:
    return max(WHOLE, rate.burst * HELD_SHARE, rate.per_s * HELD_S)
