"""Publishes events to Kafka, or to the spool while Kafka does not acknowledge: one writer per worker.

In: groups of events. Out: None when Kafka has them all, else PartialPublish with the groups that the spool has and
those that failed. Errors: Fatal once closed; never Retryable, since all retries were made.
Next: parsec.adapters.spool.drain.

Invariants, cited by tests
 1. Exactly the events that Kafka did not acknowledge go to the spool; those that it acknowledged are in no spool.
 2. After a failure no publish waits for Kafka until an acknowledgement (the drain tries) ends it; with nothing to drain
    a publish may try once a second.
 3. A group with an event too large for the topic fails as a whole, so that its sender learns which event it is: by then
    ingest knows the topic's limit.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from parsec.adapters.kafka.monitor import CircuitBreaker
from parsec.adapters.kafka.writer import KafkaWriter, NotAcknowledged
from parsec.adapters.spool.spool import Spool
from parsec.core.errors import Retryable
from parsec.ports.broker import Group, PartialPublish


class SpoolingWriter:
    """A LogWriter, used by one worker's thread; `refuses` from any."""

    def __init__(self, kafka: KafkaWriter, spool: Spool, breaker: CircuitBreaker) -> None:
        self._kafka = kafka
        self._spool = spool
        self._breaker = breaker

    def publish(self, groups: Sequence[Group]) -> PartialPublish | None:
        unavailable = self._unavailable()
        if unavailable is not None:
            return self._append(dict(enumerate(groups)), frozenset(), unavailable)
        try:
            self._kafka.publish(groups)
        except NotAcknowledged as error:
            missing = _groups_with(groups, Counter(record.value for record in error.records))
            refused = frozenset(_groups_with(groups, Counter(record.value for record in error.refused)))
            return self._append(missing, refused, str(error))
        return None

    def refuses(self) -> str | None:
        unavailable = self._unavailable()
        refusal = self._spool.refuses() if unavailable is not None else None
        return f"{unavailable}, and the spool accepts no events: {refusal}" if refusal else None

    def close(self) -> None:
        self._kafka.close()

    def _unavailable(self) -> str | None:
        """Why Kafka is not tried now."""
        why = self._breaker.open_reason()
        return self._breaker.last_failure if why is None and self._spool.waiting else why

    def _append(self, missing: Mapping[int, Group], refused: frozenset[int], why: str) -> PartialPublish:
        spooled, failed = set[int](), set[int]()
        for number, group in missing.items():
            if number in refused:
                failed.add(number)
                continue
            try:
                self._spool.append(group)
                spooled.add(number)
            except Retryable as error:
                why = f"{why}, and the spool accepts no events: {error}"
                failed.update(missing.keys() - spooled)
                break
        return PartialPublish(
            frozenset(spooled), frozenset(failed), why, sum(len(group.events) for group in missing.values()),
            sum(len(group.lines) for group in missing.values()),
            sum(len(missing[number].events) for number in failed),
        )  # fmt: skip


def _groups_with(groups: Sequence[Group], values: Counter[bytes]) -> dict[int, Group]:
    """By index, the part of each group that is among `values`; byte-identical events are interchangeable."""
    found: dict[int, Group] = {}
    for number, group in enumerate(groups):
        events, lines = [], []
        for event, line in zip(group.events, group.lines.split(b"\n"), strict=False):
            if values[line] > 0:
                values[line] -= 1
                events.append(event)
                lines.append(line + b"\n")
        if events:
            found[number] = Group(events, b"".join(lines))
    return found
