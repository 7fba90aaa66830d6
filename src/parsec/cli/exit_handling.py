"""How the command ends when whoever reads its output, or whoever started it, has had enough: without a word.

Exit codes are the shell's: 141 where the pipe was closed (`| head`), 130 after Ctrl-C.
"""

import io
import os
import sys
from contextlib import suppress
from typing import Any

import click

READER_GONE = 141
INTERRUPTED = 130


class Quiet(click.Group):
    """A group whose commands end quietly."""

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Else one character that the terminal's encoding lacks would end the command.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _write_nowhere()
            ctx.exit(READER_GONE)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        return result


def _write_nowhere() -> None:
    """What is still buffered would fail once more when the interpreter ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
