"""`parsec histogram`: events over time as bars. In: an expression and a range. Out: a bar per bucket.

Next: parsec.client.
"""

import click

from parsec.cli.client_flags import open_client, scope_flags, warn_if_incomplete
from parsec.cli.terminal import counted, is_terminal, print_json_lines, visible
from parsec.client import Histogram

_EIGHTHS = " \u258f\u258e\u258d\u258c\u258b\u258a\u2589"
_WHOLE = "\u2588"


@click.command()
@scope_flags
@click.option("--interval", "interval_s", type=click.IntRange(min=1), help="Seconds per bar. Default: about 60 bars.")
@click.option("--by", help="Count the values of this field separately, as severity or metadata.user.id.")
def histogram(
    expression: str | None,
    url: str,
    tenant: str | None,
    start: str | None,
    end: str | None,
    interval_s: int | None,
    by: str | None,
) -> None:
    """Count events over time.

    EXPRESSION selects events, as for `parsec query`. Prints bars on a terminal, one JSON object per bucket in a pipe.
    Exit code: 0 answered, 1 refused, 3 no answer.
    """
    with open_client(url, expression=expression) as client:
        found = client.histogram(tenant, q=expression, start=start, end=end, interval_s=interval_s, by=by)
    if is_terminal():
        _print_bars(found)
    else:
        print_json_lines(found.buckets)
    total = sum(bucket.count for bucket in found.buckets)
    click.echo(f"{counted(total, 'event')}, {found.interval_s:,} s per bar", err=True)
    warn_if_incomplete(found, set())


def _print_bars(found: Histogram) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    most = max((bucket.count for bucket in found.buckets), default=0)
    digits = len(f"{most:,}")
    room = console.width - 24 - digits
    width = max(10, min(60, room // 2 if any(bucket.by for bucket in found.buckets) else room))
    for bucket in found.buckets:
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
