"""Letting a client of the driver go that may not answer any more.

In: what closes it. Out: nothing; it is closed, or left behind. Errors: none.
Next: parsec.adapters.broker.kafka_consumer.

To close a consumer waits for its coordinator, and a client that lost its last broker at a bad moment may never answer
again (librdkafka 2.16). Neither may keep a process from ending.
"""

import threading
from collections.abc import Callable

LEAVE_S = 2.0


def leave(close: Callable[[], object], longest_s: float = LEAVE_S) -> None:
    """Returns once it is closed, or after longest_s; it goes on by itself then."""
    closing = threading.Thread(target=close, name="parsec-kafka-leaving", daemon=True)
    closing.start()
    closing.join(longest_s)
