"""Severities: the one table of spellings, and how numbers are read.

In: a severity as a logger writes it: a word in any case, with colours, brackets or prefixes, or a number. Out: one of
SEVERITIES, or None for an unknown spelling. Errors: none. Next: parsec.api.event_rules.

Why a number means what it does here: docs/decisions/0023-what-a-severity-means.md.
"""

import re
import unicodedata
from typing import Literal, get_args

SEVERITIES = ("trace", "debug", "info", "warn", "error", "fatal")
"""From the least severe to the most severe."""

_SPELLINGS = {
    "trace": "trc trac trce verbose verb vrb veryverbose fine finer finest silly all notset t v "
    "trace2 trace3 trace4 trace5 trace6 trace7 trace8 10 5000",
    "debug": "dbg debu dbug debugging config cfg d debug1 debug2 debug3 debug4 debug5 d1 d2 d3 d4 d5 7 8 20 10000",
    "info": "inf info2 info3 info4 information informational notice notification notifications note ntc log logalways "
    "normal default unspecified none http access audit auditsuccess successaudit success ok statement hint detail "
    "context query location display system event mark i n 5 6 9 11 12 30 20000",
    "warn": "warning warnings wrn deprecated deprecation w warn2 warn3 warn4 4 13 14 15 16 40 30000",
    "error": "err erro eror errors severe fail failed failure auditfailure failureaudit exception e "
    "error2 error3 error4 3 17 18 19 50 40000",
    "fatal": "ftl fata fatl fatalerror critical criticalerror crit crt alert alerts alrt emerg emergency emergencies "
    "emrg panic pani pnc dpanic fault assert assertion abort catastrophic f c a fatal2 fatal3 fatal4 "
    "0 1 2 21 22 23 24 60 50000",
}
SEVERITY_ALIASES = {alias: name for name, text in _SPELLINGS.items() for alias in (name, *text.split())}
"""Lower-case word to severity. Of the numbers, 0 to 7 are syslog's, the tens pino's, the others up to
24 OpenTelemetry's, the thousands log4j 1's and logback's."""

Scale = Literal["syslog", "otel", "pino", "python"]
"""The scale of a sender's numbers."""
SCALES: tuple[Scale, ...] = get_args(Scale)

_SYSLOG = ("fatal", "fatal", "fatal", "error", "warn", "info", "info", "debug")
_LEVELS: dict[Scale, tuple[tuple[int, str], ...]] = {
    "otel": ((21, "fatal"), (17, "error"), (13, "warn"), (9, "info"), (5, "debug"), (1, "trace"), (0, "info")),
    "pino": ((60, "fatal"), (50, "error"), (40, "warn"), (30, "info"), (20, "debug"), (0, "trace")),
    "python": ((50, "fatal"), (40, "error"), (30, "warn"), (20, "info"), (10, "debug"), (0, "trace")),
}
"""The least number of each severity. OpenTelemetry's 0 is "unspecified"."""
_MAX_OTEL = 24

MAX_SEVERITY_CHARS = 200
"""A longer text is not a severity."""

_COLOURS = re.compile(
    r"(?:\x1b|\^\[|\\(?:x1b|033|u001b|e)|\u241b)\[[0-?]*[ -/]*[@-~]|\x9b[0-?]*[ -/]*[@-~]|\x1b.|\[[0-9;]+m"
)
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,8})(?:\.0*)?", re.ASCII)
_AROUND_NUMBER = " \t\r\n[](){}<>\"':;,|*#"
_PRIORITY = re.compile(r"<([0-9]{1,3})>", re.ASCII)  # RFC 5424: facility * 8 + severity
_MAX_PRIORITY = 191
_WORDS = re.compile(r"[^\W_]+")
_SLOG = re.compile(r"(debug|info|warn|error)([+-][0-9]{1,3})", re.ASCII)  # Go's log/slog, between its levels
_SLOG_STEP = 4
_KLOG = re.compile(r"([iwef])[0-9]{4}", re.ASCII)  # the letter and the date of a line's head
_AFFIX = re.compile(r"^(?:severitynumber|severitytext|severity|loglevel|level|lvl)|(?:level|severity)$")
_NOISE = frozenset(
    "severity number text level loglevel lvl log logging priority prio sev core php parse compile recoverable "  # noqa: SIM905
    "catchable zapcore slog "
    # The facilities of syslog, as in daemon.warning.
    "kern user mail daemon auth authpriv syslog lpr news uucp cron ftp ntp security console "
    "local0 local1 local2 local3 local4 local5 local6 local7".split()
)


def at_least(number: int, scale: Literal["otel", "pino", "python"]) -> str:
    """The highest severity that a number reaches; below all, the least."""
    return next((name for least, name in _LEVELS[scale] if number >= least), "trace")


def severity_name(text: str, scale: Scale | None = None) -> str | None:
    """One of SEVERITIES, or None. `scale`: of numbers; None: as in SEVERITY_ALIASES."""
    if len(text) > MAX_SEVERITY_CHARS:
        return None
    word = unicodedata.normalize("NFKC", text).lower().replace("i\u0307", "i").replace("\u0131", "i").strip()
    name = SEVERITY_ALIASES.get(word) if scale is None or not word.isdecimal() else None
    if name is not None:
        return name
    plain = _COLOURS.sub("", word)
    if pri := _PRIORITY.fullmatch(plain):
        return _SYSLOG[int(pri[1]) % 8] if int(pri[1]) <= _MAX_PRIORITY else None
    if number := _NUMBER.fullmatch(plain.strip(_AROUND_NUMBER)):
        return _of_number(number[1], scale)
    return _of_words(plain.strip())


def _of_number(digits: str, scale: Scale | None) -> str | None:
    number = int(digits)
    if scale is None:
        return SEVERITY_ALIASES.get(digits)
    if scale == "syslog":
        return _SYSLOG[number] if number < len(_SYSLOG) else None
    return None if scale == "otel" and number > _MAX_OTEL else at_least(number, scale)


def _of_words(text: str) -> str | None:
    if between := _SLOG.fullmatch(text):
        if abs(int(between[2])) < _SLOG_STEP:
            return between[1]
        at = SEVERITIES.index(between[1]) + int(between[2]) // _SLOG_STEP
        return SEVERITIES[max(0, min(at, len(SEVERITIES) - 1))]
    words = _WORDS.findall(text)
    if text.startswith("e_"):  # PHP's constants, such as E_WARNING
        words = words[1:]
    whole = _one("".join(words))
    if whole is not None or not words:
        return whole
    telling = [word for word in words if word not in _NOISE and not word.isdecimal()]
    named = [_one(word) for word in telling]
    # All of them must be known: "non-fatal" is not fatal.
    return max((name for name in named if name), key=SEVERITIES.index) if named and all(named) else None


def _one(word: str) -> str | None:
    if word.isdecimal():
        return None
    if head := _KLOG.fullmatch(word):
        word = head[1]
    return SEVERITY_ALIASES.get(word) or SEVERITY_ALIASES.get(_AFFIX.sub("", word) or word)
