"""Start, load, end, again and again on one directory; then every acknowledged event must be there exactly once."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.support.load import TENANT, Load
from tests.support.process import Parsec


def rounds_lose_nothing(
    parsec: Parsec, rounds: int, seed: int, most_events: int, end: Callable[[Parsec], None]
) -> dict[str, int]:
    """`rounds` times: start, load up to a random moment, `end`. Then a last start and the count, which it returns."""
    chance = random.Random(seed)
    acknowledged: set[str] = set()
    unanswered: set[str] = set()
    with parsec:
        for turn in range(rounds):
            if turn:
                parsec.start()
            load = Load(parsec.port, f"r{turn}").start()
            load.wait_for(chance.randrange(1, most_events), lambda: parsec.process.poll() is None)
            end(parsec)
            load.stop()
            assert not load.wrong_answers
            acknowledged |= load.acknowledged
            unanswered |= set(load.unanswered)
        parsec.start()
        parsec.wait_processed()
        found = Counter(event["id"] for event in parsec.search(TENANT))
        ledger: dict[str, Any] = parsec.stats()["ledger"]
        recount: dict[str, Any] = parsec.get("/admin/audit")[1]
    twice = {event_id: times for event_id, times in found.items() if times > 1}
    missing = acknowledged - found.keys()
    unknown = found.keys() - acknowledged - unanswered
    assert not missing, f"{len(missing)} acknowledged events are lost"
    assert not twice, f"{len(twice)} events are stored more than once"
    assert not unknown, f"{len(unknown)} events came from nowhere"
    assert ledger["difference"] == 0
    assert ledger["lost"] == 0
    assert ledger["stored"] == sum(found.values())
    recounted = (recount["difference"], recount["not_recounted"], recount["recounted"])
    assert recounted == (0, 0, ledger["committed"] - ledger["start"]), recount
    fates = {name: ledger[name] for name in ("stored", "duplicate", "dead", "lost", "difference")}
    return {"rounds": rounds, "acknowledged": len(acknowledged), "unanswered": len(unanswered), **fates}
