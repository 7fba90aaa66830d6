"""Set up logging: sentences with fields, as JSON or for a terminal, on standard error.

In: level and format. Out: structlog and the standard library's logging write the same lines. A warning or error that
repeats is written at most once in 10 seconds.
"""

import logging
import sys
import time
from collections.abc import Callable
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REPEAT_AFTER_S = 10.0
_MAX_REMEMBERED = 256


class RepeatFilter:
    """Drop a warning or error that was logged within the last 10 s; `repeated` of the next one counts the dropped."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._seen: dict[str, tuple[float, int]] = {}

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if method not in ("warning", "error"):
            return event
        if "exc_info" in event:
            return event
        # An error names what was lost: only one with the same fields is a repeat. A warning about another day is none.
        key = str(sorted(event.items())) if method == "error" else f"{event.get('event')} {event.get('day')}"
        now = self._now()
        since, dropped = self._seen.get(key, (-REPEAT_AFTER_S, 0))
        if now - since < REPEAT_AFTER_S:
            self._seen[key] = (since, dropped + 1)
            raise structlog.DropEvent
        if len(self._seen) >= _MAX_REMEMBERED:
            self._seen.clear()
        self._seen[key] = (now, 0)
        if dropped:
            event["repeated"] = dropped
        return event


def configure(level: str, style: Literal["auto", "json", "console"]) -> None:
    """`level` and `style` as in PARSEC_LOG_LEVEL and PARSEC_LOG_FORMAT."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[*shared[:1], RepeatFilter(), *shared[1:], renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
