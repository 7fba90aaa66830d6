"""The real command on a real terminal: a pseudo-terminal with the process on it."""

import os
import pty
import subprocess
import sys


def on_terminal(*arguments: str, code: int = 0, **environment: str) -> str:
    """What `parsec` with these arguments shows on a terminal, 140 columns wide by default, and asserts its exit code.

    Of colours and the like it shows the codes.
    """
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    child = subprocess.Popen(
        [sys.executable, "-m", "parsec", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**kept, "TERM": "xterm-256color", "COLUMNS": "140", **environment},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            some = os.read(ours, 65536)
        except OSError:  # how Linux says that the other side of a terminal is closed
            break
        if not some:
            break
        shown += some
    os.close(ours)
    assert child.wait(60) == code, shown
    return shown.decode()
