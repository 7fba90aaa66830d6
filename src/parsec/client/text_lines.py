"""Lines of plain text to events: each line is one event, with the time and the level at its beginning.

In: the lines of one input, in order, and its pauses. Out: events as JSON. Errors: none. The message is the whole line;
bytes that are not UTF-8 become `\\xff`. Next: parsec.client.body_splitter.

A line without a time of its own (a stack trace, a second line of a message) gets that of the line before it, unless the
input pauses in between; an indented one also gets its level. Any other line gets the time of reading and the default
severity; `without_time` counts these.
"""

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

import msgspec

from parsec.api.event_rules import MAX_AHEAD_S
from parsec.core.clock import Clock
from parsec.core.line_head import LineHead, LineHeads
from parsec.core.timestamp import SECOND, text_of

DEFAULT_SEVERITY = "info"
_CLOCK_TOLERANCE_S = 600
_NO_HEAD = LineHead(None, None)


class TextOptions(msgspec.Struct, frozen=True):
    """`read_time`, `read_level`: from the line. `zone`: of times without one; None: this machine's. `severity`: of
    lines without a level."""

    read_time: bool = True
    read_level: bool = True
    zone: tzinfo | None = None
    severity: str = DEFAULT_SEVERITY


class TextLines:
    """The lines of one input. `fields`: of every event. `written_ns`: the latest change of the file, or None."""

    def __init__(
        self, options: TextOptions, fields: Mapping[str, str], clock: Clock, written_ns: int | None = None
    ) -> None:
        self._options = options
        self._fields = fields
        self._clock = clock
        self._written_ns = written_ns
        self._heads = LineHeads(options.zone, 0, 0)
        self._last = _NO_HEAD
        self.without_time = 0

    @property
    def has_assumed_zone(self) -> bool:
        """Whether a time without a zone was read."""
        return self._heads.has_assumed_zone

    def paused(self) -> None:
        """The next line begins a new message."""
        self._last = _NO_HEAD

    def event(self, line: bytes) -> bytes:
        text = line.decode(errors="backslashreplace")
        now_ns = self._clock.time_ns()
        head = self._head(text, now_ns)
        if head.time_ns is None and self._options.read_time:
            self.without_time += 1
        return msgspec.json.encode(
            {
                "timestamp": text_of(now_ns if head.time_ns is None else head.time_ns),
                "severity": head.level or self._options.severity,
                **self._fields,
                "message": text,
            }
        )

    def complete(self, event: dict[str, Any]) -> bytes:
        """An event of another format, with defaults for time, severity and source where it lacks them."""
        given = {"timestamp": text_of(self._clock.time_ns()), "severity": self._options.severity, **self._fields}
        return msgspec.json.encode(given | event)

    def _head(self, text: str, now_ns: int) -> LineHead:
        options = self._options
        if not (options.read_time or options.read_level):
            return _NO_HEAD
        self._heads.latest_s = now_ns / SECOND + MAX_AHEAD_S - _CLOCK_TOLERANCE_S
        # A line is at most as new as its file, plus a day for a clock that is ahead.
        written_ns = now_ns if self._written_ns is None else min(now_ns, self._written_ns)
        self._heads.written_s = written_ns / SECOND + MAX_AHEAD_S
        found = self._heads.read(text)
        if found.time_ns is None:
            indented = found.level is None and text[:1].isspace()
            found = LineHead(self._last.time_ns, self._last.level if indented else found.level)
        else:
            self._last = found
        return LineHead(found.time_ns if options.read_time else None, found.level if options.read_level else None)
