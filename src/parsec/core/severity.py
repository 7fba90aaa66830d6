"""Severities, from the least to the gravest, and the words that mean them.

Ingest stores one of six; a question may name them by any of their aliases.
"""

SEVERITIES = ("trace", "debug", "info", "warn", "error", "fatal")

_SPELLINGS = {
    "trace": "trc verbose fine finer finest silly t v trace2 trace3 trace4",
    "debug": "dbg d debug1 debug2 debug3 debug4 debug5 7",
    "info": "inf information informational notice note log normal default success i info2 info3 info4 5 6",
    "warn": "warning wrn w warn2 warn3 warn4 4",
    "error": "err eror severe failure e error2 error3 error4 3",
    "fatal": "critical crit alert emerg emergency panic dpanic f c fatal2 fatal3 fatal4 0 1 2",
}
ALIASES = {spelling: name for name, text in _SPELLINGS.items() for spelling in (name, *text.split())}
"""Lower-case spelling to severity. Digits are syslog's levels (RFC 5424), as journald and GELF send them; the numbers
of OpenTelemetry and of pino contradict these and each other, so they are not guessed."""
