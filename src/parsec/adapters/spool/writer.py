"""Events to Kafka, or to the spool while Kafka does not acknowledge: one writer per worker.

In: groups of events. Out: None when Kafka has them all, else PartialPublish with the groups that the spool keeps
and those that it does not. Errors: Fatal once closed; never Retryable, for all that a retry could do was done.
Next: parsec.adapters.spool.drain.

Invariants, cited by tests
 1. Exactly what Kafka did not acknowledge goes to the spool; what it did acknowledge is in no spool.
 2. After a failure nothing waits for Kafka until an acknowledgement (the drain tries) ends it; with nothing to drain a
    publish may try by itself once a second.
 3. A group with an event too large for the topic fails whole, so that its sender is told which event it is: by then the
    door knows the topic's limit.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import structlog

from parsec.adapters.kafka.monitor import CircuitBreaker
from parsec.adapters.kafka.writer import KafkaWriter, NotAcknowledged
from parsec.adapters.spool.spool import Spool
from parsec.core.errors import Retryable
from parsec.ports.broker import Group, PartialPublish

_log = structlog.get_logger(__name__)


class SpoolingWriter:
    """A LogWriter, used by one worker's thread; `refuses` from any."""

    def __init__(self, kafka: KafkaWriter, spool: Spool, breaker: CircuitBreaker) -> None:
        self._kafka = kafka
        self._spool = spool
        self._breaker = breaker

    def publish(self, groups: Sequence[Group]) -> PartialPublish | None:
        away = self._away()
        if away is not None:
            return self._keep(dict(enumerate(groups)), frozenset(), away)
        try:
            self._kafka.publish(groups)
        except NotAcknowledged as error:
            left = _left(groups, Counter(record.value for record in error.records))
            refused = frozenset(_left(groups, Counter(record.value for record in error.refused)))
            return self._keep(left, refused, str(error))
        return None

    def refuses(self) -> str | None:
        away = self._away()
        if away is None:
            return None
        refusal = self._spool.refuses()
        return f"{away}, and nothing can be kept until it does: {refusal}" if refusal else None

    def close(self) -> None:
        self._kafka.close()

    def _away(self) -> str | None:
        """Why Kafka is not tried now."""
        why = self._breaker.open_reason()
        return self._breaker.last_failure if why is None and self._spool.waiting else why

    def _keep(self, left: Mapping[int, Group], refused: frozenset[int], why: str) -> PartialPublish:
        spooled, failed = set[int](), set[int]()
        for number, group in left.items():
            if number in refused:
                failed.add(number)
                continue
            try:
                self._spool.append(group)
                spooled.add(number)
            except Retryable as error:
                why = f"{why}, and nothing can be kept until it does: {error}"
                failed.update(left.keys() - spooled)
                break
        return PartialPublish(
            frozenset(spooled),
            frozenset(failed),
            why,
            sum(len(group.events) for group in left.values()),
            sum(len(group.lines) for group in left.values()),
            sum(len(left[number].events) for number in failed),
        )


def _left(groups: Sequence[Group], values: Counter[bytes]) -> dict[int, Group]:
    """By index, what of each group is among `values`; of events that are the same byte for byte any will do."""
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
