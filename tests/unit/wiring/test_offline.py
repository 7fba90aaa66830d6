"""What commands do with the files of a stopped Parsec."""

from parsec.core.errors import Retryable
from parsec.wiring.offline import turns
from tests.support.processing import Rig


def test_an_offline_repair_outlives_a_store_that_does_not_answer_for_a_moment() -> None:
    rig = Rig()
    rig.log.append(*[b"event"] * 3)
    rig.run_until_committed()
    rig.lose(lambda _: True)
    rig.on("insert.before", Retryable("no answer"), times=2)
    rig.repair.request(rig.gaps())
    for _ in turns(rig.repair, rig.processor.progress().values(), rig.clock.advance):
        pass
    assert rig.gaps() == []
