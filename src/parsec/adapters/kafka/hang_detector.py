"""Whether the driver hangs: what speaks for it, between checks that Kafka answered to others.

In: what a check has found. Out: what to do about it. Errors: none. Next: parsec.adapters.kafka.reader.

When the brokers' metadata leaves out a broker that was in trouble (for a moment it may leave out all), librdkafka 2.16
may lose what it had asked there, and with it any hope of an answer, or never connect again. See docs/decisions/0011.
"""

HANGS_AFTER_S = 25.0
"""Longer than a session: by then the coordinator has given our partitions to others, or soon will."""
HANGS_AFTER_CHECKS = 4


class HangDetector:
    """Against one driver."""

    def __init__(self) -> None:
        self._stood: dict[int, tuple[int, int]] = {}
        self._unheard = 0

    def stands_still(self, partition: int, at: int, *, waits: bool) -> bool:
        """Whether nothing came since the last check of a partition that has more; a pause is no standstill."""
        was_at, times = self._stood.get(partition, (-1, 0))
        times = times + 1 if waits and was_at == at else 0
        self._stood[partition] = (at, times)
        return times > 0

    def forget(self, partition: int) -> None:
        """It is no longer ours, or begins anew."""
        self._stood.pop(partition, None)

    def heard(self, *, answered: bool) -> None:
        """A coordinator was asked that answers others."""
        self._unheard = 0 if answered else self._unheard + 1

    def hangs(self, unanswered_s: float) -> str | None:
        """Why this driver must be replaced; None when it need not. `unanswered_s`: the age of an open question."""
        if unanswered_s >= HANGS_AFTER_S:
            return f"it has not answered for {unanswered_s:.0f} s"
        if self._unheard >= HANGS_AFTER_CHECKS:
            return "it does not reach the coordinator, which answers others"
        for partition, (at, times) in self._stood.items():
            if times >= HANGS_AFTER_CHECKS:
                return f"it gives nothing of partition {partition} behind offset {at}, which has more"
        return None
