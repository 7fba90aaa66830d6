"""The turn that a busy thread gives the event loop."""

import asyncio
import os
import pty
import signal
import subprocess
import sys

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


SERVE = """
import asyncio
from parsec.core.clock import SystemClock
from parsec.core.lifecycle import Lifecycle
from parsec.service import Service
async def run():
    service = Service(Lifecycle(), 0, 5, SystemClock())
    print("early", flush=True)
    if input() == "reload":
        service.reload = lambda: print("reloaded", flush=True)
    asyncio.get_running_loop().call_later(0, lambda: print("ready", flush=True))
    await service.run([])
asyncio.run(run())
"""


def test_a_hangup_reloads_also_one_that_came_during_the_start_and_ends_nothing() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "early\n"
        process.send_signal(signal.SIGHUP)
        process.stdin.write("reload\n")
        process.stdin.flush()
        assert {process.stdout.readline(), process.stdout.readline()} == {"reloaded\n", "ready\n"}
        process.send_signal(signal.SIGHUP)
        assert process.stdout.readline() == "reloaded\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_closed_terminal_ends_the_process() -> None:
    near, far = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", SERVE], stdin=far, stdout=subprocess.PIPE, stderr=far) as process:
        os.close(far)
        assert process.stdout is not None
        assert process.stdout.readline() == b"early\n"
        os.write(near, b"reload\n")
        assert process.stdout.readline() == b"ready\n"
        os.close(near)
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == -signal.SIGHUP
