"""Detect a hung Kafka client.

In: the results of checks, made while Kafka answers other clients. Out: why the client must be replaced. Errors: none.
Next: parsec.adapters.kafka.reader.

When the brokers' metadata omits a broker in trouble (for a moment it may omit all), librdkafka 2.16 may lose the
requests it has sent there, and their answers with them, or never connect again. See docs/decisions/0011.
"""

HANGS_AFTER_S = 25.0
"""Longer than a session: by then the coordinator has given our partitions to others, or soon will."""
HANGS_AFTER_CHECKS = 4


class HangDetector:
    """Watches one client."""

    def __init__(self) -> None:
        self._stalls: dict[int, tuple[int, int]] = {}  # partition -> offset, checks in a row without progress
        self._coordinator_misses = 0

    def is_stalled(self, partition: int, offset: int, *, has_more: bool) -> bool:
        """Whether a partition that has more records is still where the last check found it."""
        last, checks = self._stalls.get(partition, (-1, 0))
        checks = checks + 1 if has_more and last == offset else 0
        self._stalls[partition] = (offset, checks)
        return checks > 0

    def forget(self, partition: int) -> None:
        """The partition is no longer ours, or is read from another offset."""
        self._stalls.pop(partition, None)

    def coordinator_checked(self, *, reachable: bool) -> None:
        """The result of asking a coordinator that answers other clients."""
        self._coordinator_misses = 0 if reachable else self._coordinator_misses + 1

    def why_hung(self, commit_pending_s: float) -> str | None:
        """Why the client must be replaced; None: it works. `commit_pending_s`: the age of an unanswered commit."""
        if commit_pending_s >= HANGS_AFTER_S:
            return f"it has not answered for {commit_pending_s:.0f} s"
        if self._coordinator_misses >= HANGS_AFTER_CHECKS:
            return "it does not reach the coordinator, which answers other clients"
        for partition, (offset, checks) in self._stalls.items():
            if checks >= HANGS_AFTER_CHECKS:
                return f"it returns nothing of partition {partition} after offset {offset}, where there is more"
        return None
