"""The turn that a busy thread gives the event loop."""

import asyncio

from parsec.service import LoopTurn


class Hand:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def turns_of_a_loop(bite_s: float, turn_s: float) -> int:
    """How many turns the loop has, each of `turn_s`, until a thread comes back that asked for it after `bite_s`."""
    clock, turns = Hand(), 0

    async def run() -> None:
        turn = LoopTurn(asyncio.get_running_loop(), clock)
        go_on = turn._go_on

        def counted() -> None:
            nonlocal turns
            turns += 1
            clock.now += turn_s
            go_on()

        turn._go_on = counted  # type: ignore[method-assign]
        clock.now += bite_s
        await asyncio.to_thread(turn)

    asyncio.run(run())
    return turns


def test_an_idle_loop_lets_the_thread_go_on_at_once() -> None:
    assert turns_of_a_loop(bite_s=0.001, turn_s=0.00001) == 1


def test_a_busy_loop_has_three_times_as_long_as_the_bite_before() -> None:
    assert turns_of_a_loop(bite_s=0.001, turn_s=0.0007) == 5


def test_a_long_bite_is_not_held_against_the_thread() -> None:
    """An insert is no bite: the engine works without the interpreter."""
    assert turns_of_a_loop(bite_s=10, turn_s=0.0007) == 6


def test_a_loop_that_has_ended_holds_nobody_up() -> None:
    loop = asyncio.new_event_loop()
    turn = LoopTurn(loop)
    loop.close()
    turn()
