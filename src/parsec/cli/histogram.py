"""`parsec histogram`: events over time as bars. In: an expression and a range. Out: a bar per bucket.

Next: parsec.client.
"""

from collections.abc import Sequence
from typing import Any

import click

from parsec.api import parameters
from parsec.api.query import HistogramBucket
from parsec.cli.client_flags import explain_if_empty, open_client, searched_range, server_flags, warn_if_incomplete
from parsec.cli.query_flags import query_flags
from parsec.cli.terminal import counted, is_terminal, print_json_lines, visible
from parsec.client import Histogram

_EIGHTHS = " \u258f\u258e\u258d\u258c\u258b\u258a\u2589"
_WHOLE = "\u2588"


@click.command()
@query_flags(parameters.HISTOGRAM)
@click.option("--all", "whole", is_flag=True, help="Print empty bars before the first and after the last event, too.")
@server_flags
def histogram(url: str, whole: bool, **asked: Any) -> None:
    """Count events over time.

    EXPRESSION selects events, as for `parsec query`. Prints bars on a terminal, one JSON object per bucket in a pipe,
    from the first bucket that has events to the last. Exit code: 0 answered, 1 refused, 3 no answer.
    """
    with open_client(url, expression=asked["q"]) as client:
        found = client.histogram(**asked)
    shown = found.buckets if whole else without_empty_ends(found.buckets)
    if is_terminal():
        _print_bars(shown)
    else:
        print_json_lines(shown)
    total = sum(bucket.count for bucket in found.buckets)
    explain_if_empty(found)
    if total:
        bars = f"{found.interval_s:,} s per bar{_left_out(found, len(shown))}"
        click.echo(f"{counted(total, 'event')} {searched_range(found)}, {bars}", err=True)
    warn_if_incomplete(found, set())


def without_empty_ends(buckets: Sequence[HistogramBucket]) -> Sequence[HistogramBucket]:
    """From the first bucket that has events to the last."""
    filled = [number for number, bucket in enumerate(buckets) if bucket.count]
    return buckets[filled[0] : filled[-1] + 1] if filled else ()


def _left_out(found: Histogram, shown: int) -> str:
    empty = len(found.buckets) - shown
    if not empty:
        return ""
    return f"; {counted(empty, 'empty bar')} before and after not shown (--all shows them)"


def _print_bars(buckets: Sequence[HistogramBucket]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    most = max((bucket.count for bucket in buckets), default=0)
    digits = len(f"{most:,}")
    room = console.width - 24 - digits
    width = max(10, min(60, room // 2 if any(bucket.by for bucket in buckets) else room))
    for bucket in buckets:
        line = Text(f"{visible(bucket.start):<20} {bucket.count:>{digits},} ")
        line.append(bar(bucket.count, most, width), "cyan")
        if bucket.by:
            line.append(" " + " ".join(f"{visible(value)}:{count:,}" for value, count in bucket.by.items()), "dim")
        console.print(line, no_wrap=True, overflow="ellipsis")


def bar(count: int, most: int, width: int) -> str:
    """`width` characters for `most`, to an eighth of a character; something visible for anything above 0."""
    if count <= 0:
        return ""
    eighths = max(1, count * width * 8 // most)
    return _WHOLE * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
