"""`parsec send`: a file or a pipe of events to a Parsec, until every one has its verdict."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from parsec.cli.exit_handling import INTERRUPTED
from parsec.cli.server import GAVE_UP, NOT_ALL, api_key, open_client, server_flags, tenant_flag
from parsec.cli.terminal import visible
from parsec.client import Client, IngestAnswer, RetryPolicy
from parsec.client.body_splitter import BodySource, Kind, bodies, events_of
from parsec.core.clock import Clock, SystemClock
from parsec.core.errors import Rejected, Retryable

SHOWN_ERRORS = 10


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@server_flags
@tenant_flag("Tenant of plain text lines, and of events that name none.")
@click.option("--source", help="Source of plain text lines (default: the file's name) and of events without one.")
@click.option("--severity", help="Severity of plain text lines (default: info) and of events without one.")
@click.option("--batch", type=click.IntRange(1, 1_000_000), default=500, show_default=True, help="Events per request.")
@click.option("--text", "kind", flag_value="text", help="The input is plain text, one event a line.")
@click.option("--json", "kind", flag_value="json", help="The input is JSON. Default: seen from its first character.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds for which one request is tried again when the server is away or says wait.",
)
def send(file: BinaryIO, url: str, timeout: float, batch: int, kind: Kind | None, **words: str | None) -> None:
    """Send events from FILE (default: standard input).

    Takes a JSON array, {"events": [...]}, JSON lines, single objects, or plain text lines. Memory stays flat, whatever
    the size. A request that got no answer is sent again unchanged, so that its events keep their ids.

    Exit code: 0 all accepted, 1 some rejected, 3 gave up.
    """
    defaults = {"tenant_id": words["tenant"], "source": words["source"], "severity": words["severity"]}
    given = {name: word for name, word in defaults.items() if word}
    sending = Sending(BodySource(file), given, str(getattr(file, "name", "-")), keyless=api_key(url) is None)
    retry = RetryPolicy(on_wait=sending.waits)
    with open_client(url, max(timeout, 1.0), retry) as client:
        code = sending.run(client, kind, batch, timeout)
    sys.exit(code)


class Sending:
    """One run of the command: what was sent so far, and what came of it."""

    def __init__(
        self, source: BodySource, defaults: dict[str, str], name: str, *, keyless: bool, clock: Clock | None = None
    ) -> None:
        """`keyless`: no key tells the tenant."""
        self._source = source
        self._keyless = keyless
        self._defaults = defaults
        self._name = "stdin" if name in ("-", "<stdin>") else Path(name).name
        self._clock = clock or SystemClock()
        self._accepted = 0
        self._rejected = 0
        self._acks: set[str] = set()
        self._shown = 0
        self._waiting_for = ""

    def run(self, client: Client, kind: Kind | None, batch: int, timeout_s: float) -> int:
        """Sends all there is and says what became of it; the exit code."""
        started = self._clock.monotonic()
        problem, code = "", 0
        try:
            with progress_bar(self._source) as show:
                for body in bodies(events_of(self._source, kind, self._wrap), batch):
                    answer = client.send(body.content, defaults=self._defaults, give_up_after_s=timeout_s)
                    self._note(answer)
                    show(self._accepted + self._rejected)
        except Rejected as error:
            problem, code = f"{error.message} ({error.code})", NOT_ALL
        except Retryable as error:
            problem, code = str(error), GAVE_UP
        except KeyboardInterrupt:
            problem, code = "interrupted", INTERRUPTED
        self._summarise(self._clock.monotonic() - started)
        if problem:
            click.echo(f"parsec: {visible(problem)}; the events after these had no answer or were not sent", err=True)
        return code or (NOT_ALL if self._rejected else 0)

    def waits(self, wait_s: float, reason: str) -> None:
        """Says why nothing moves, once per reason."""
        if reason != self._waiting_for:
            self._waiting_for = reason
            click.echo(f"parsec: trying again in {wait_s:.1f} s: {visible(reason)}", err=True)

    def _wrap(self, line: bytes) -> bytes:
        """An event of a line of text; its time is now."""
        if "tenant_id" not in self._defaults and self._keyless:
            raise click.UsageError("plain text needs --tenant (or PARSEC_TENANT, or PARSEC_API_KEY)")
        return msgspec.json.encode(
            {
                "timestamp": datetime.fromtimestamp(self._clock.time_ns() / 1e9, UTC),
                "severity": "info",
                "source": self._name,
                **self._defaults,
                "message": line.decode(errors="replace"),
            }
        )

    def _note(self, answer: IngestAnswer) -> None:
        self._waiting_for = ""
        for verdict in answer.errors[: SHOWN_ERRORS - self._shown]:
            index = self._accepted + self._rejected + (verdict.index or 0)
            field = f" ({verdict.field})" if verdict.field else ""
            click.echo(f"event {index}: {verdict.code}{field}: {visible(verdict.message)}", err=True)
            self._shown += 1
        self._accepted += answer.accepted
        self._rejected += answer.rejected
        if answer.ack and answer.accepted:
            self._acks.add(answer.ack)

    def _summarise(self, seconds: float) -> None:
        total = self._accepted + self._rejected
        if self._rejected > self._shown > 0:
            click.echo(f"and {self._rejected - self._shown} more rejected", err=True)
        rate = f", {total / seconds:,.0f}/s" if seconds > 0 else ""
        acks = f", {' and '.join(sorted(self._acks))}" if self._acks else ""
        click.echo(
            f"{total:,} events: {self._accepted:,} accepted{acks}, {self._rejected:,} rejected, {seconds:.1f} s{rate}"
        )


@contextmanager
def progress_bar(source: BodySource) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while it is a terminal; the function given takes the number of events so far."""
    if not sys.stderr.isatty():
        yield lambda _events: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    columns = (
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[events]:,} events"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=source.size, events=0)
        yield lambda events: progress.update(task, completed=source.bytes_read, events=events)
