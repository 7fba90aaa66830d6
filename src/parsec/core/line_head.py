"""Finds the time and the level at the beginning of a line of a log, in the forms that common loggers write.

In: a line, the zone of times without one, and the latest time possible, from which a missing year follows. Out: a
LineHead, whose fields are None where nothing certain was found. Errors: none. Next: parsec.client.text_lines.

Recognised: ISO 8601 with T or a space, a comma or a dot before the fraction, slashes in the date; syslog (RFC 3164 and
5424, `<pri>`); ctime, RFC 2822, and the access and error logs of Apache and nginx; klog and glog; numbers of seconds to
nanoseconds since 1970; the audit daemon's; logfmt; each also in brackets, after a level, or after the prefix `name |`
of docker compose. Not taken, because they would be guesses: a time without a date, a year of two digits, 07/08/2026.
The level after such a time is read all the same.
"""

import re
from datetime import UTC, tzinfo
from typing import NamedTuple

from parsec.core.severity import SEVERITY_ALIASES, severity_name
from parsec.core.timestamp import SECOND, fixed_zone, wall_second, year_of


class LineHead(NamedTuple):
    """Nanoseconds since 1970, and one of our severities."""

    time_ns: int | None
    level: str | None


_NOTHING = LineHead(None, None)
_HEAD_CHARS = 500
_LEAST_EPOCH_S = 1_000_000_000  # September 2001: smaller numbers at the head of a line are others
_YEAR_9999_S = 253_402_000_000.0
_ZONES = {"Z": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8,
          "PDT": -7}  # fmt: skip
"""Those of RFC 822. Other abbreviations mean several zones; such a time is read as one without a zone."""
_MONTH_NAMES = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES.split("|"), 1)}

LEVEL_WORDS = (
    "trace", "trc", "verbose", "vrb", "fine", "finer", "finest", "debug", "dbug", "dbg", "info", "inf", "information",
    "informational", "notice", "note", "success", "warning", "warn", "wrn", "error", "err", "severe", "critical",
    "crit", "fatal", "ftl", "alert", "emergency", "emerg", "panic",
)  # fmt: skip
"""Words that mean a level wherever a level may stand. Ingest knows more, which are common words in a text."""
WORDS_WITH_COLON = ("log", "statement", "detail", "hint", "fail")
"""Those of PostgreSQL and .NET."""
_LEVEL = "(?:" + "|".join(sorted(LEVEL_WORDS, key=len, reverse=True)) + ")"

_CLOCK = (
    r"(?P<h>[0-9]{1,2}):(?P<mi>[0-9]{2}):(?P<s>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9})[0-9]*)?(?: (?P<half>[AaPp])[Mm]\b)?"
)
_ZONE = (
    r"(?: ?(?P<z>[Zz](?![A-Za-z])|(?:UTC|GMT|[ECMP][SD]T)(?![A-Za-z])|[+-][0-9]{2}:?[0-9]{2}(?![0-9])"
    r"|(?<! )[+-][0-9]{2}(?![0-9:])))?"
)
_MONTH = rf"(?P<mon>{_MONTH_NAMES})[a-z]*\.?"
_WEEKDAY = r"(?:(?P<wd>Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*\.?,? +)?"
_BEFORE = re.compile(
    r"(?P<name>\S{1,64} +\| +)?(?:<(?P<pri>[0-9]{1,3})>(?:1 )?)?"
    rf"(?:[\[(<]?(?P<level>(?i:{_LEVEL})(?![\w=]))[ \t]*[\])>]?[:,|]?[ \t]*(?:- )?)?"
    r"(?:[A-Z], )?(?:[0-9]+:[A-Z] )?[\[(\"']?"
)
_ISO = (
    r"(?P<y>[0-9]{4})(?P<sep>[-/.])(?P<mo>[0-9]{2})(?P=sep)(?P<d>[0-9]{2})(?:[Tt_ ]| - )(?:"
    + _CLOCK + r"|(?P<hm>[0-9]{2}:[0-9]{2})(?![0-9:+-]))" + _ZONE
)  # fmt: skip
_ISO_BASIC = (
    r"(?P<y>[0-9]{4})(?P<mo>[0-9]{2})(?P<d>[0-9]{2})[T -](?P<h>[0-9]{2}):?(?P<mi>[0-9]{2}):?(?P<s>[0-9]{2})"
    r"(?:[.,](?P<f>[0-9]{1,9})[0-9]*)?" + _ZONE
)
_MONTH_FIRST = (
    _WEEKDAY + _MONTH + r" +(?P<d>[0-9]{1,2})(?:,? (?P<y>[0-9]{4}),?)? +" + _CLOCK
    + r"(?: (?P<z>UTC|GMT|[ECMP][SD]T)\b)?(?(wd)(?: [A-Z]{3,4})?(?: (?P<y2>[0-9]{4})(?![0-9]))?)"
)  # fmt: skip
_DAY_FIRST = _WEEKDAY + r"(?P<d>[0-9]{1,2})[-/ ]" + _MONTH + r"[-/ ](?P<y>[0-9]{4})[: T]" + _CLOCK + _ZONE
_KLOG = r"(?P<k>[IWEF])(?P<y>[0-9]{4})?(?P<mo>[0-9]{2})(?P<d>[0-9]{2}) " + _CLOCK
_EPOCH = r"(?P<epoch>[0-9]{10}(?:[.,][0-9]{1,9})?|[0-9]{13}|[0-9]{16}|[0-9]{19})(?![0-9.,A-Za-z_-])"
_TIMES = tuple(re.compile(form) for form in (_ISO, _ISO_BASIC, _MONTH_FIRST, _DAY_FIRST, _KLOG, _EPOCH))
_OTHER_TIME = re.compile(
    r"(?:[0-9]{1,4}[-/.][0-9]{1,2}(?:[-/.][0-9]{1,4})?[ T])?[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?(?![\w:])"
)
"""One that is not taken, because its date is missing, ambiguous or impossible. The level beside it is certain."""

_ACCESS = re.compile(r"[^\[\]\"]{1,200}\[(?=[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:)")
_AUDIT = re.compile(r"(?:node=\S+ )?type=\S+ msg=audit\((?=[0-9]{10}\.)")
_LOGFMT = re.compile(r"[A-Za-z_@][\w.@-]*=")
_LOGFMT_TIME = re.compile(r"(?:^|[\s,])(?:ts|time|timestamp|t|@timestamp|datetime|date)=\"?")
_LEVEL_KEY = re.compile(
    rf"(?:^|[\s,{{])\"?(?:level|lvl|severity|loglevel|log\.level|levelname)\"?[=:] ?\"?(?P<word>(?i:{_LEVEL}))(?!\w)"
)

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_BETWEEN = re.compile(r"[\s\])\"'|:;,.-]*(?:std(?:out|err) [FP] )?")  # containerd: stream and full or partial
_BRACKETED = rf"[\[(<{{]\s*(?:\w+:)?(?P<bracketed>(?i:{_LEVEL}))\s*[\])>}}|:]"
_UPPER_CASE = rf"(?P<upper>{_LEVEL.upper()})(?!\w)"
_WITH_COLON = rf"(?P<named>(?i:{_LEVEL}|{'|'.join(WORDS_WITH_COLON)})):(?![\w/])"
_WITH_CHANNEL = rf"[\w-]{{1,40}}\.(?P<channel>{_LEVEL.upper()}):"
"""Monolog's."""
_LEVEL_HERE = re.compile(f"{_BRACKETED}|{_UPPER_CASE}|{_WITH_COLON}|{_WITH_CHANNEL}")
_FIRST_WORD = re.compile(rf"(?P<first>(?i:{_LEVEL}))(?=[\s\]]|$)")
_TOKEN = re.compile(r"\[[^\]]{0,80}\]|\([^)]{0,80}\)|(?P<word>[^\s\[(]{1,80}(?:\[[^\]\s]{0,20}\]:?)?)")
_SENTENCE = re.compile(r"[A-Z]?[A-Za-z']*")
_MOST_TOKENS = 5
_REDIS = re.compile(r"[0-9]+:[A-Z] [0-9]{1,2} [A-Z][a-z]{2} [0-9]{4} [0-9:.]+ ([.*#-]) ")
_REDIS_LEVELS = {".": "debug", "-": "debug", "*": "info", "#": "warn"}


class LineHeads:
    """`zone`: of times without one; None: this machine's. `latest_s`: the latest possible time, in seconds since 1970;
    later ones are ignored. `written_s`: the same for times without a year, which it determines."""

    def __init__(self, zone: tzinfo | None, latest_s: float, written_s: float) -> None:
        self._zone = zone
        self.latest_s = latest_s
        self.written_s = written_s
        self.has_assumed_zone = False

    def read(self, line: str) -> LineHead:
        """An indented line has no head: it continues another."""
        text = line[:_HEAD_CHARS]
        if "\x1b" in text:
            text = _COLOURS.sub("", text)
        if not text or text[0].isspace():
            return _NOTHING
        before = _BEFORE.match(text)
        assert before is not None  # all of it is optional
        time_ns, match = self._time(text, before.end())
        priority = severity_name(f"<{before['pri']}>") if before["pri"] else None
        if priority is not None:
            return LineHead(time_ns, priority)
        match = match or _OTHER_TIME.match(text, before.end())
        if match is None:
            return LineHead(None, _level(text, before.end("name") if before["name"] else 0, after_time=False))
        if before["level"]:
            return LineHead(time_ns, SEVERITY_ALIASES[before["level"].lower()])
        if match.groupdict().get("k"):
            return LineHead(time_ns, SEVERITY_ALIASES[match["k"].lower()])
        redis = _REDIS.match(text)
        return LineHead(time_ns, _REDIS_LEVELS[redis[1]] if redis else _level(text, match.end(), after_time=True))

    def _time(self, text: str, start: int) -> tuple[int | None, re.Match[str] | None]:
        """The time and its match, or None and None without a possible time."""
        starts = [start]
        starts += (found.end() for elsewhere in (_ACCESS, _AUDIT) if (found := elsewhere.match(text)))
        if _LOGFMT.match(text):
            starts += (found.end() for found in _LOGFMT_TIME.finditer(text))
        for at in starts:
            for form in _TIMES:
                match = form.match(text, at)
                time_ns = self._nanoseconds(match.groupdict()) if match else None
                if time_ns is not None:
                    return time_ns, match
        return None, None

    def _nanoseconds(self, parts: dict[str, str | None]) -> int | None:
        """None for a time that does not exist or is not possible."""
        if epoch := parts.get("epoch"):
            whole, _, fraction = epoch.replace(",", ".").partition(".")
            found = int((whole + fraction).ljust(19, "0"))
            return found if _LEAST_EPOCH_S * SECOND <= found <= self.latest_s * SECOND else None
        hour, minute = int(parts["h"] or 0), int(parts["mi"] or 0)
        if hours_minutes := parts.get("hm"):
            hour, minute = int(hours_minutes[:2]), int(hours_minutes[3:])
        if half := parts.get("half"):
            hour = hour % 12 + 12 * (half in "Pp")
        month = _MONTHS[parts["mon"]] if parts.get("mon") else int(parts["mo"] or 0)  # type: ignore[index]
        moment = (month, int(parts["d"] or 0), hour, minute, int(parts["s"] or 0))
        zone_text = parts.get("z")
        zone = _zone(zone_text) if zone_text else self._zone
        self.has_assumed_zone |= not zone_text
        year = parts.get("y") or parts.get("y2")
        latest_s = self.latest_s if year else self.written_s
        seconds = (wall_second((each, *moment), zone) for each in ((int(year),) if year else self._years()))
        second = next((each for each in seconds if each is not None and 0 <= each <= latest_s), None)
        return None if second is None else second * SECOND + int((parts.get("f") or "").ljust(9, "0"))

    def _years(self) -> range:
        """For a time without a year: the last one in which it is possible; 29 February is in every eighth at least."""
        this = year_of(self.written_s) + 1
        return range(this, this - 9, -1)


def _zone(text: str) -> tzinfo | None:
    hours = _ZONES.get(text.upper())
    if hours is not None:
        return fixed_zone(hours * 60)
    digits = text[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return fixed_zone(-minutes if text[0] == "-" else minutes)


def _level(text: str, at: int, *, after_time: bool) -> str | None:
    """The level, if it is among the first words after the time, or without a time at the very beginning."""
    plain_words = 1  # the name of a host or a logger; two would be a sentence
    for skipped in range(_MOST_TOKENS + 1):
        if after_time:
            at = _end(_BETWEEN, text, at)
        if text.startswith("{", at) or _LOGFMT.match(text, at) or (skipped == 0 and _LOGFMT.match(text)):
            found = _LEVEL_KEY.search(text, 0 if skipped == 0 else at)
            if found:
                return SEVERITY_ALIASES[found["word"].lower()]
        found = _LEVEL_HERE.match(text, at) or (_FIRST_WORD.match(text, at) if after_time and skipped == 0 else None)
        if found:
            return SEVERITY_ALIASES[next(each for each in found.groups() if each).lower()]
        token = _TOKEN.match(text, at)
        if token is None or not after_time:
            return None
        if token["word"] and _SENTENCE.fullmatch(token["word"]):
            plain_words -= 1
            if plain_words < 0 or (token["word"][0].isupper() and not token["word"].isupper()):
                return None
        at = token.end()
    return None


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


_ANY_TIME = LineHeads(UTC, _YEAR_9999_S, _YEAR_9999_S)


def level_of(line: str) -> str | None:
    """The level at the beginning of a line whose time is known from elsewhere."""
    return _ANY_TIME.read(line).level
