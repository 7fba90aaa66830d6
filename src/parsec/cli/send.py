"""`parsec send`: send files or a pipe of events until each has its verdict. In: JSON or text. Out: a summary.

Next: parsec.client.input_decoder, parsec.client.body_splitter.
"""

import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from parsec.api.formats import detect as formats
from parsec.api.formats.detect import AUTO, FORMATS, PLAIN
from parsec.api.ingest import CONTENT_CODES, IngestError
from parsec.cli.client_flags import Command, api_key, new_client, profile, server_flags
from parsec.cli.terminal import GAVE_UP, INTERRUPTED, NOT_ALL, counted, progress_bar, visible
from parsec.client import Client, IngestAnswer, RetryPolicy
from parsec.client.body_splitter import BodySource, Kind, Pieces, batches, pieces_of
from parsec.client.input_decoder import InputDecoder
from parsec.client.json_splitter import Piece, values_in
from parsec.client.text_lines import DEFAULT_SEVERITY, TextLines, TextOptions
from parsec.core.clock import Clock, SystemClock
from parsec.core.errors import Rejected, Retryable
from parsec.core.timestamp import fixed_zone

SHOWN_ERRORS = 10
_STDIN = "-"
_PARAMETER = re.compile(r"add \?(\w+)_field=(\S+) to the URL, or rename it")
_OFFSET = re.compile(r"([+-])([01][0-9]|2[0-3]):?([0-5][0-9])", re.ASCII)


def _zone(name: str) -> tzinfo | None:
    """None: this machine's."""
    if name.lower() in ("local", "utc", "z"):
        return None if name.lower() == "local" else UTC
    if offset := _OFFSET.fullmatch(name):
        minutes = int(offset[2]) * 60 + int(offset[3])
        return fixed_zone(-minutes if offset[1] == "-" else minutes)
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise click.BadParameter(
            f"{name!r} is not a time zone; use local, utc, +02:00, or a name such as Europe/Berlin"
        ) from error


def _field_flags(command: Command) -> Command:
    for field in ("source", "severity", "timestamp", "message"):
        names = f"JSON fields for the {field}, separated by commas; the first that an event has counts."
        command = click.option(f"--{field}-field", metavar="NAMES", help=names)(command)
    return command


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@server_flags
@click.option(
    "--tenant",
    envvar="PARSEC_TENANT",
    default=lambda: profile().tenant,
    help="Tenant of plain text lines, and of events that name none. [PARSEC_TENANT]",
)
@click.option("--source", help="Source of plain text lines (default: the file's name) and of events without one.")
@click.option(
    "--severity",
    default=AUTO,
    show_default=True,
    help="Severity of plain text lines, and of JSON events without one. auto: the level at the beginning of a line, "
    "else info.",
)
@click.option(
    "--timestamp",
    "time_of_lines",
    type=click.Choice([AUTO, "now"]),
    default=AUTO,
    show_default=True,
    help="Time of plain text lines. auto: from the beginning of the line, else that of the line before, else now.",
)
@click.option(
    "--zone",
    default="local",
    show_default=True,
    callback=lambda _ctx, _param, name: _zone(name),
    help="Time zone of plain text lines that name none: local, utc, +02:00, or a name such as Europe/Berlin.",
)
@_field_flags
@click.option("--batch", type=click.IntRange(1, 1_000_000), default=500, show_default=True, help="Events per request.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice([AUTO, PLAIN, "text", *FORMATS]),
    default=AUTO,
    show_default=True,
    help="Format of the input. auto: each JSON object by its shape; ndjson: events with Parsec's fields, unchanged.",
)
@click.option("--text", "kind", flag_value="text", help="The input is plain text, one event per line.")
@click.option("--json", "kind", flag_value="json", help="The input is JSON. Default: decided by its first character.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Seconds to retry a request while the server is unavailable or busy.",
)
def send(
    files: Sequence[str], url: str, timeout: float, batch: int, kind: Kind | None, format_name: str,
    time_of_lines: str, zone: tzinfo | None, **words: str | None,
) -> None:  # fmt: skip
    """Send events from FILEs (default: standard input).

    Takes a JSON array, {"events": [...]}, JSON lines, single objects, or plain text lines, of any size in constant
    memory; also compressed with gzip or zstd, and in UTF-16 or UTF-32 with a byte order mark. A request without an
    answer is sent again unchanged, so that its events keep their ids. A bad event is reported with its line, and the
    others are sent.

    Exit code: 0 all accepted, 1 some rejected or not read, 3 gave up.
    """
    level = words.pop("severity") or AUTO
    severity = DEFAULT_SEVERITY if level == AUTO else level
    text = TextOptions(read_time=time_of_lines == AUTO, read_level=level == AUTO, zone=zone, severity=severity)
    parameters = {("tenant_id" if name == "tenant" else name): word for name, word in words.items() if word}
    parameters |= {} if level == AUTO else {"severity": level}
    layout = _layout(kind, format_name, maps=any(name.endswith("_field") for name in parameters))
    sender = Sender(parameters, layout, text, batch, timeout, has_key=api_key(url) is not None)
    with new_client(url, max(timeout, 1.0), RetryPolicy(on_wait=sender.report_wait)) as client:
        code = sender.run(client, files or [_STDIN])
    sys.exit(code)


class Layout(NamedTuple):
    """`kind`: how the input is split into values; None: as its first character tells. `format`: of JSON values."""

    kind: Kind | None
    format: str


def _layout(kind: Kind | None, format_name: str, *, maps: bool) -> Layout:
    """`maps`: there are flags for JSON fields, so no format is detected."""
    if format_name == "text":
        kind, format_name = kind or "text", AUTO
    elif format_name != AUTO:
        kind = kind or "json"
    if kind == "text" and (format_name != AUTO or maps):
        raise click.UsageError("plain text has no fields: leave out --format and the flags for fields, or --text")
    if maps and format_name not in (AUTO, PLAIN):
        raise click.UsageError(
            f"the format {format_name} has its own fields: leave out --format, or the flags for fields"
        )
    return Layout(kind, PLAIN if maps else format_name)


class Sender:
    """One run of the command, with counts of what was sent so far."""

    def __init__(
        self, parameters: Mapping[str, str], layout: Layout, text: TextOptions, batch: int, timeout_s: float, *,
        has_key: bool, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        """`parameters`: of the requests. `has_key`: an API key may name the tenant."""
        self._parameters = parameters
        self._layout = layout
        self._text = text
        self._batch = batch
        self._timeout_s = timeout_s
        self._has_key = has_key
        self._clock = clock or SystemClock()
        self._accepted = 0
        self._rejected = 0
        self._blank = 0
        self._acks: set[str] = set()
        self._shown = 0
        self._wait_reason = ""
        self._incomplete = False
        self._without_time = 0
        self._has_assumed_zone = False
        self._label = ""

    def run(self, client: Client, files: Sequence[str]) -> int:
        """Sends everything and prints a summary. Returns the exit code."""
        started = self._clock.monotonic()
        problem, code = "", 0
        try:
            for name in files:
                self._label = f"{name}: " if len(files) > 1 else ""
                with click.open_file(name, "rb") as file:
                    self._send_file(client, cast("BinaryIO", file), name)
        except Rejected as error:
            problem, code = f"{error.message} ({error.code})", NOT_ALL
        except Retryable as error:
            problem, code = str(error), GAVE_UP
        except KeyboardInterrupt:
            problem, code = "interrupted", INTERRUPTED
        self._summarise(self._clock.monotonic() - started)
        if problem:
            click.echo(f"parsec: {visible(problem)}; later events were not sent, or got no answer", err=True)
        return code or (NOT_ALL if self._rejected or self._incomplete else 0)

    def _send_file(self, client: Client, file: BinaryIO, name: str) -> None:
        source = BodySource(file)
        fields = {"source": "stdin" if name == _STDIN else Path(name).name}
        fields |= {each: self._parameters[each] for each in ("tenant_id", "source") if each in self._parameters}
        lines = TextLines(self._text, fields, self._clock, source.modified_ns)
        decoder = InputDecoder(source.chunks(), is_text=self._layout.kind == "text")
        with progress_bar(source.size, in_bytes=True) as show:
            for batch in batches(self._events(pieces_of(decoder.chunks(), self._layout.kind), lines), self._batch):
                self._deliver(client, batch)
                show(source.bytes_read, counted(self._accepted + self._rejected + self._blank, "event"))
        self._without_time += lines.without_time
        self._has_assumed_zone |= lines.has_assumed_zone
        if decoder.problem:
            self._report_input(decoder.problem)

    def _events(self, pieces: Pieces, lines: TextLines) -> Iterator[Piece | None]:
        """The pieces as events; invalid pieces are counted as rejected."""
        try:
            for piece in pieces:
                if piece is None:
                    lines.paused()
                    yield None
                elif piece.fault:
                    self._reject(piece, "event_too_large", piece.fault)
                elif piece.is_text and not self._is_of_known_format(piece):
                    yield piece._replace(data=self._event_of_line(piece.data, lines))
                else:
                    yield from self._events_of_value(piece, lines)
        except Rejected as error:  # of this input; others may be read
            self._report_input(error.message)

    def _deliver(self, client: Client, batch: Sequence[Piece]) -> None:
        """Sends a batch. If it is refused as a whole for its content, sends its halves, down to the single event at
        fault, which is counted as rejected: the others are sent, and the run goes on."""
        body = b"\n".join(piece.data for piece in batch)
        try:
            answer = client.send(body, defaults=self._parameters, give_up_after_s=self._timeout_s)
        except Rejected as error:
            if error.code not in CONTENT_CODES:
                raise
            if len(batch) > 1:
                half = len(batch) // 2
                self._deliver(client, batch[:half])
                self._deliver(client, batch[half:])
                return
            why = IngestError(0, None, error.code, error.field, error.message)
            answer = (
                IngestAnswer(False, "", 0, 1, [why]) if error.code != "no_events" else IngestAnswer(True, "", 0, 0, ())
            )
        self._count(answer, batch)

    def report_wait(self, wait_s: float, reason: str) -> None:
        """Prints each reason once, until a request succeeds."""
        if reason != self._wait_reason:
            click.echo(f"parsec: trying again in {wait_s:.1f} s: {visible(reason)}", err=True)
            self._wait_reason = reason

    def _is_of_known_format(self, piece: Piece) -> bool:
        """Among lines of text: a program may print a few before its JSON begins."""
        is_object = self._layout.kind is None and piece.data.startswith(b"{")
        return is_object and formats.is_known(piece.data)

    def _events_of_value(self, piece: Piece, lines: TextLines) -> Iterator[Piece]:
        """One piece of JSON, by the format that it has."""
        try:
            events = formats.events_of(piece.data, self._layout.format)
        except Rejected as error:
            self._reject(piece, error.code, error.message)
            return
        if events is None:
            yield piece
        else:
            yield from (piece._replace(data=lines.complete(event)) for event in events)

    def _reject(self, piece: Piece, code: str, message: str) -> None:
        """Counts an event that is not sent."""
        self._report(piece, IngestError(0, None, code, None, message))
        self._rejected += 1

    def _event_of_line(self, line: bytes, lines: TextLines) -> bytes:
        if "tenant_id" not in self._parameters and not self._has_key:
            raise click.UsageError("plain text needs --tenant (or PARSEC_TENANT, or PARSEC_API_KEY)")
        return lines.event(line)

    def _count(self, answer: IngestAnswer, batch: Sequence[Piece]) -> None:
        self._wait_reason = ""
        if answer.errors and self._shown < SHOWN_ERRORS:
            pieces = _by_index(batch, answer.accepted + answer.rejected + answer.blank)
            for error in answer.errors:
                self._report(pieces[min(error.index or 0, len(pieces) - 1)], error)
        self._accepted += answer.accepted
        self._rejected += answer.rejected
        self._blank += answer.blank
        if answer.accepted:
            self._acks.add(answer.ack)

    def _report(self, piece: Piece, error: IngestError) -> None:
        if self._shown < SHOWN_ERRORS:
            field = f" ({error.field})" if error.field else ""
            place = f"{visible(self._label)}line {piece.line}"
            click.echo(f"{place}: {error.code}{field}: {visible(_in_flags(error))}", err=True)
            self._shown += 1

    def _report_input(self, problem: str) -> None:
        click.echo(f"parsec: {visible(self._label or 'the input: ')}{visible(problem)}", err=True)
        self._incomplete = True

    def _summarise(self, seconds: float) -> None:
        if self._without_time:
            lines = counted(self._without_time, "line")
            click.echo(f"{lines} without a recognised time got the time of reading", err=True)
        if self._has_assumed_zone and self._text.zone is None:
            now = datetime.now().astimezone()
            click.echo(f"times without a zone were read as local time (now {now:%z}); --zone changes this", err=True)
        total = self._accepted + self._rejected + self._blank
        if self._rejected > self._shown > 0:
            click.echo(f"and {self._rejected - self._shown} more rejected", err=True)
        rate = f", {total / seconds:,.0f}/s" if seconds > 0 else ""
        acks = f", {' and '.join(sorted(self._acks))}" if self._acks else ""
        accepted, rejected = f"{self._accepted:,} accepted{acks}", f"{self._rejected:,} rejected"
        if self._blank:
            rejected += f", {self._blank:,} blank"
        click.echo(f"{counted(total, 'event')}: {accepted}, {rejected}, {seconds:.1f} s{rate}")


def _in_flags(error: IngestError) -> str:
    """The message, with flags of this command instead of parameters of the URL."""
    message = _PARAMETER.sub(_flag, error.message)
    if (error.code, error.field) == ("missing_field", "tenant_id"):
        message += " --tenant names one for all events."
    return message


def _flag(parameter: re.Match[str]) -> str:
    if parameter[1] == "tenant":
        return "rename it to tenant_id"
    return f"add --{parameter[1]}-field {shlex.quote(unquote(parameter[2]))}, or rename it"


def _by_index(batch: Sequence[Piece], verdicts: int) -> Sequence[Piece]:
    """The piece of each verdict: a line may hold several values."""
    if len(batch) == verdicts:
        return batch
    return [piece for piece in batch for _ in range(values_in(piece.data))] or batch
