"""`parsec send`: send a file or a pipe of events until each has its verdict. In: JSON or text. Out: a summary.

Next: parsec.client.body_splitter.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from parsec.api.ingest import CONTENT_CODES, IngestError
from parsec.cli.client_flags import api_key, new_client, profile, server_flags
from parsec.cli.terminal import GAVE_UP, INTERRUPTED, NOT_ALL, counted, progress_bar, visible
from parsec.client import Client, IngestAnswer, RetryPolicy
from parsec.client.body_splitter import BodySource, Kind, bodies, events_of
from parsec.core.clock import Clock, SystemClock
from parsec.core.errors import Rejected, Retryable

SHOWN_ERRORS = 10


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@server_flags
@click.option(
    "--tenant",
    envvar="PARSEC_TENANT",
    default=lambda: profile().tenant,
    help="Tenant of plain text lines, and of events that name none. [PARSEC_TENANT]",
)
@click.option("--source", help="Source of plain text lines (default: the file's name) and of events without one.")
@click.option("--severity", help="Severity of plain text lines (default: info) and of events without one.")
@click.option("--batch", type=click.IntRange(1, 1_000_000), default=500, show_default=True, help="Events per request.")
@click.option("--text", "kind", flag_value="text", help="The input is plain text, one event per line.")
@click.option("--json", "kind", flag_value="json", help="The input is JSON. Default: decided by its first character.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds to retry a request while the server is unavailable or busy.",
)
def send(file: BinaryIO, url: str, timeout: float, batch: int, kind: Kind | None, **words: str | None) -> None:
    """Send events from FILE (default: standard input).

    Takes a JSON array, {"events": [...]}, JSON lines, single objects, or plain text lines, of any size in constant
    memory. A request without an answer is sent again unchanged, so that its events keep their ids. A bad event is
    reported, and the others are sent.

    Exit code: 0 all accepted, 1 some rejected, 3 gave up.
    """
    defaults = {"tenant_id": words["tenant"], "source": words["source"], "severity": words["severity"]}
    given = {name: word for name, word in defaults.items() if word}
    sender = Sender(BodySource(file), given, str(getattr(file, "name", "-")), has_key=api_key(url) is not None)
    with new_client(url, max(timeout, 1.0), RetryPolicy(on_wait=sender.report_wait)) as client:
        code = sender.run(client, kind, batch, timeout)
    sys.exit(code)


class Sender:
    """One run of the command, with counts of what was sent so far."""

    def __init__(
        self, source: BodySource, defaults: dict[str, str], name: str, *, has_key: bool, clock: Clock | None = None
    ) -> None:
        """`has_key`: an API key may name the tenant."""
        self._source = source
        self._has_key = has_key
        self._defaults = defaults
        self._name = "stdin" if name in ("-", "<stdin>") else Path(name).name
        self._clock = clock or SystemClock()
        self._accepted = 0
        self._rejected = 0
        self._acks: set[str] = set()
        self._shown = 0
        self._wait_reason = ""

    def run(self, client: Client, kind: Kind | None, batch: int, timeout_s: float) -> int:
        """Sends everything and prints a summary. Returns the exit code."""
        started = self._clock.monotonic()
        problem, code = "", 0
        try:
            with progress_bar(self._source.size, in_bytes=True) as show:
                for body in bodies(events_of(self._source, kind, self._wrap), batch):
                    self._deliver(client, body, timeout_s)
                    show(self._source.bytes_read, counted(self._accepted + self._rejected, "event"))
        except Rejected as error:
            problem, code = f"{error.message} ({error.code})", NOT_ALL
        except Retryable as error:
            problem, code = str(error), GAVE_UP
        except KeyboardInterrupt:
            problem, code = "interrupted", INTERRUPTED
        self._summarise(self._clock.monotonic() - started)
        if problem:
            click.echo(f"parsec: {visible(problem)}; later events were not sent, or got no answer", err=True)
        return code or (NOT_ALL if self._rejected else 0)

    def _deliver(self, client: Client, body: bytes, timeout_s: float) -> None:
        """Sends one body. Where it is refused as a whole for its content, its halves are sent, and at last the one
        event that is at fault is counted as rejected: it does not decide what happens to others, nor end the run."""
        try:
            answer = client.send(body, defaults=self._defaults, give_up_after_s=timeout_s)
        except Rejected as error:
            if error.code not in CONTENT_CODES:
                raise
            events = body.split(b"\n")
            if len(events) > 1:
                half = len(events) // 2
                self._deliver(client, b"\n".join(events[:half]), timeout_s)
                self._deliver(client, b"\n".join(events[half:]), timeout_s)
                return
            why = IngestError(0, None, error.code, error.field, error.message)
            answer = (
                IngestAnswer(False, "", 0, 1, [why]) if error.code != "no_events" else IngestAnswer(True, "", 0, 0, ())
            )
        self._count(answer)

    def report_wait(self, wait_s: float, reason: str) -> None:
        """Prints each reason once, until a request succeeds."""
        if reason != self._wait_reason:
            click.echo(f"parsec: trying again in {wait_s:.1f} s: {visible(reason)}", err=True)
            self._wait_reason = reason

    def _wrap(self, line: bytes) -> bytes:
        """An event of a line of text."""
        if "tenant_id" not in self._defaults and not self._has_key:
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

    def _count(self, answer: IngestAnswer) -> None:
        self._wait_reason = ""
        for error in answer.errors[: SHOWN_ERRORS - self._shown]:
            index = self._accepted + self._rejected + (error.index or 0)
            field = f" ({error.field})" if error.field else ""
            click.echo(f"event {index}: {error.code}{field}: {visible(error.message)}", err=True)
            self._shown += 1
        self._accepted += answer.accepted
        self._rejected += answer.rejected
        if answer.accepted:
            self._acks.add(answer.ack)

    def _summarise(self, seconds: float) -> None:
        total = self._accepted + self._rejected
        if self._rejected > self._shown > 0:
            click.echo(f"and {self._rejected - self._shown} more rejected", err=True)
        rate = f", {total / seconds:,.0f}/s" if seconds > 0 else ""
        acks = f", {' and '.join(sorted(self._acks))}" if self._acks else ""
        accepted, rejected = f"{self._accepted:,} accepted{acks}", f"{self._rejected:,} rejected"
        click.echo(f"{counted(total, 'event')}: {accepted}, {rejected}, {seconds:.1f} s{rate}")
