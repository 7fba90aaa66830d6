"""One severity from whatever a logger writes."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.core.severity import (
    MAX_SEVERITY_CHARS,
    SCALES,
    SEVERITIES,
    SEVERITY_ALIASES,
    Scale,
    at_least,
    severity_name,
)

LOGGERS = {
    "Serilog": "VRB trace, DBG debug, INF info, WRN warn, ERR error, FTL fatal, Verbose trace",
    "winston": "error error, warn warn, info info, http info, verbose trace, debug debug, silly trace",
    "pino": "10 trace, 20 debug, 30 info, 40 warn, 50 error, 60 fatal",
    "java.util.logging": "SEVERE error, WARNING warn, INFO info, CONFIG debug, FINE trace, FINER trace, FINEST trace",
    "syslog": "emerg fatal, alert fatal, crit fatal, err error, warning warn, notice info, info info, debug debug",
    "syslog numbers": "0 fatal, 1 fatal, 2 fatal, 3 error, 4 warn, 5 info, 6 info, 7 debug, <3> error, <134> info",
    "syslog facilities": "kern.crit fatal, daemon.warning warn, auth.err error, local0.info info, mail.alert fatal,"
    " authpriv.notice info, cron.debug debug",
    "OpenTelemetry": "8 debug, 9 info, 13 warn, 17 error, 21 fatal, 24 fatal, ERROR2 error, TRACE4 trace, FATAL3 fatal,"
    " SEVERITY_NUMBER_ERROR error, SEVERITY_NUMBER_FATAL4 fatal, SEVERITY_NUMBER_UNSPECIFIED info",
    "logback": "5000 trace, 10000 debug, 20000 info, 30000 warn, 40000 error, 50000 fatal",
    "zap": "dpanic fatal, DPANIC fatal, panic fatal, zapcore.ErrorLevel error",
    "zerolog": "TRC trace, DBG debug, INF info, WRN warn, ERR error, FTL fatal, PNC fatal",
    "logrus": "FATA[0000] fatal, PANI fatal, ERRO error, WARN[0001] warn, INFO info, DEBU debug, TRAC trace",
    "slog": "INFO+2 info, ERROR+4 fatal, DEBUG-4 trace, WARN+1 warn, ERROR+3 error, DEBUG-400 trace",
    ".NET": "Information info, Critical fatal, None info, LogLevel.Error error, trce trace, dbug debug, fail error,"
    " crit fatal, LogAlways info",
    "Python": "NOTSET trace, CRITICAL fatal, WARNING warn, LogLevel.ERROR error, logging.DEBUG debug",
    "Postgres": "LOG info, NOTICE info, STATEMENT info, HINT info, DETAIL info, PANIC fatal, DEBUG5 debug",
    "nginx": "emerg fatal, alert fatal, crit fatal, [error] error",
    "Android": "V trace, D debug, I info, W warn, E error, F fatal, A fatal",
    "klog": "I0915 info, W0915 warn, E0915 error, F0915 fatal",
    "MongoDB": "F fatal, E error, W warn, I info, D1 debug, D5 debug",
    "PHP": "E_WARNING warn, E_USER_ERROR error, PHP Fatal error fatal, PHP Deprecated warn",
    "Windows": "Audit Success info, Audit Failure error, Error error",
    "the kernel": "KERN_EMERG fatal, LOG_ERR error",
    "Rust": "log::Level::Warn warn, Level(Info) info",
    "decorated": "[ERROR] error, ERROR: error, <error> error, *** FATAL *** fatal, \x1b[31mFATAL\x1b[0m fatal,"
    " \x1b[1;38;5;9mERROR\x1b[m error, ^[[33mwarn^[[0m warn, [32minfo[39m info, \\u001b[31merror\\u001b[39m error,"
    " \u274c ERROR error, \uff26\uff21\uff34\uff21\uff2c fatal, level=error error, \u0130NFO info, FATAL ERROR fatal,"
    " error (3) error, 3 - Error error, | WARN | warn",
}
CASES = [pair.rpartition(" ") for text in LOGGERS.values() for pair in re.split(r",\s*", text)]


@pytest.mark.parametrize(("text", "name"), [(text.strip(), name) for text, _, name in CASES])
def test_what_loggers_write(text: str, name: str) -> None:
    for spelled in (text, f" {text} ", f"\t{text}\r\n"):
        assert severity_name(spelled) == name
    if "\x1b" not in text and "u001b" not in text:
        assert severity_name(text.lower()) == severity_name(text.upper()) == name


@pytest.mark.parametrize(
    "text",
    ["", " ", "loud", "-1", "+3", "00", "007", "25", "61", "100", "1.5", "non-fatal", "not an error", "fatality", "[]",
     "{}", "<192>", "null", "true", "x" * 10_000, "error" * 100, "\x1b[31m", "\ud800", "\u0663"],
)  # fmt: skip
def test_what_no_logger_writes(text: str) -> None:
    assert severity_name(text) is None or text == "\u0663"


@pytest.mark.parametrize(
    ("scale", "names"),
    [
        ("syslog", "0 fatal, 2 fatal, 3 error, 4 warn, 5 info, 6 info, 7 debug, 8 None, error error"),
        ("otel", "0 info, 1 trace, 4 trace, 5 debug, 8 debug, 9 info, 12 info, 13 warn, 17 error, 20 error, 21 fatal,"
         " 24 fatal, 25 None, DEBUG2 debug, 10.0 info"),
        ("pino", "0 trace, 10 trace, 19 trace, 20 debug, 30 info, 35 info, 40 warn, 50 error, 60 fatal, 70 fatal"),
        ("python", "0 trace, 5 trace, 10 debug, 20 info, 25 info, 30 warn, 40 error, 50 fatal, 60 fatal, 99 fatal"),
    ],
)  # fmt: skip
def test_numbers_of_a_scale(scale: Scale, names: str) -> None:
    for pair in names.split(", "):
        text, _, name = pair.strip().rpartition(" ")
        assert str(severity_name(text, scale)) == name, text


def test_every_alias_is_in_the_table_once() -> None:
    source = Path(__file__).parents[3].joinpath("src/parsec/core/severity.py").read_text()
    table = source.partition("_SPELLINGS = {")[2].partition("\n}")[0]
    assert len(" ".join(re.findall(r'"([^"]*)"', table)).split()) == len(SEVERITY_ALIASES)
    assert all(severity_name(alias) == name for alias, name in SEVERITY_ALIASES.items())


@given(st.text(max_size=MAX_SEVERITY_CHARS), st.sampled_from([None, *SCALES]))
def test_any_text_has_a_severity_or_none_and_a_severity_its_own(text: str, scale: Scale | None) -> None:
    name = severity_name(text, scale)
    assert name is None or severity_name(name, scale) == name
    assert name is None or name in SEVERITIES


@given(st.integers(-5, 200), st.integers(0, 50), st.sampled_from(["otel", "pino", "python"]))
def test_a_greater_number_is_not_less_severe(number: int, more: int, scale: Scale) -> None:
    if scale != "syslog" and (scale != "otel" or number > 0):
        assert SEVERITIES.index(at_least(number, scale)) <= SEVERITIES.index(at_least(number + more, scale))
