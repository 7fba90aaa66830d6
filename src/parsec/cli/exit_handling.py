"""Exit codes, and how commands end: with one line on standard error, or quietly on a broken pipe or Ctrl-C.

In: a message and a code, or the exceptions that leave a command. Out: the exit code. Next: parsec.cli.terminal.
"""

import io
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

import click

NOT_ALL = 1
BAD_SETTINGS = 2
GAVE_UP = 3
DIFFERENCE = 4
INTERRUPTED = 130
READER_GONE = 141
"""The last two are the shell's: Ctrl-C, and a closed pipe (`| head`)."""


def fail(message: str, code: int) -> NoReturn:
    """Ends the command with one line on standard error."""
    click.echo(f"parsec: {message}", err=True)
    sys.exit(code)


class QuietGroup(click.Group):
    """A group of commands that end without a traceback on a broken pipe or Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A character that the terminal's encoding lacks would end the command otherwise.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            with suppress(OSError, ValueError):  # the rest of the buffer would fail again at the interpreter's exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(READER_GONE)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        return result
