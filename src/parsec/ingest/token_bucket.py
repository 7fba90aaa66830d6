"""A token bucket: so much a second, so much at once after a rest. Pure; time is an argument.

In: a rate, and what is taken. Out: whether anything may be taken now, else when. Next: parsec.ingest.rate_limits.

Invariants, cited by tests
1. Whoever takes only when `may_take` says so takes, in any time t, less than burst + per_s * t + the largest one taken.
2. After `wait_s` in which nothing is taken, `may_take` says yes.
"""

import msgspec

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
