"""The time and the level at the beginning of a line, as loggers write them, and nothing that is a guess."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsec.api.event_rules import severity
from parsec.core.line_head import LEVEL_WORDS, WORDS_WITH_COLON, LineHead, LineHeads
from parsec.core.timestamp import SECOND, text_of

NOW = datetime(2026, 8, 1, 10, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def heads(now: datetime = NOW, zone: object = UTC) -> LineHeads:
    latest_s = (now + DAY).timestamp()
    return LineHeads(zone, latest_s, latest_s)  # type: ignore[arg-type]


def read(line: str, now: datetime = NOW, zone: object = UTC) -> tuple[str | None, str | None]:
    found = heads(now, zone).read(line)
    return (None if found.time_ns is None else text_of(found.time_ns)), found.level


NOON = "2026-07-29T12:00:00Z"
MILLIS = "2026-07-29T12:00:00.123Z"


@pytest.mark.parametrize(
    ("line", "time", "level"),
    [
        # ISO 8601 and RFC 3339
        ("2026-07-29T12:00:00Z started", NOON, None),
        ("2026-07-29T12:00:00.123456789Z started", "2026-07-29T12:00:00.123456789Z", None),
        ("2026-07-29T12:00:00.1234567891234Z started", "2026-07-29T12:00:00.123456789Z", None),
        ("2026-07-29T14:00:00+02:00 started", NOON, None),
        ("2026-07-29T14:00:00+0200 started", NOON, None),
        ("2026-07-29 14:00:00+02 started", NOON, None),
        ("2026-07-29 07:00:00 -0500 started", NOON, None),
        ("2026-07-29 12:00:00 UTC started", NOON, None),
        ("2026-07-29 08:00:00 EDT started", NOON, None),
        ("2026-07-29 12:00:00 started", NOON, None),
        ("2026-07-29 12:00:00", NOON, None),
        ("[2026-07-29 12:00:00] started", NOON, None),
        ("(2026-07-29 12:00:00) started", NOON, None),
        ("20260729T120000Z started", NOON, None),
        ("20260729 12:00:00.123 started", MILLIS, None),
        ("2026.07.29 12:00:00 started", NOON, None),
        ("2026-07-29T12:00Z started", NOON, None),
        ("2026-07-29 12:00 ERROR lost", NOON, "error"),
        ("2026-07-29T23:59:60Z leap", "2026-07-29T23:59:59Z", None),
        # Python: the default of logging with a time, basicConfig, Django, Celery, gunicorn, uvicorn, loguru
        ("2026-07-29 12:00:00,123 - app.db - WARNING - slow", MILLIS, "warn"),
        ("2026-07-29 12:00:00,123 root INFO hello", MILLIS, "info"),
        ("2026-07-29 12:00:00,123 INFO hello", MILLIS, "info"),
        ("WARNING:root:careful", None, "warn"),
        ("INFO 2026-07-29 12:00:00,123 views 4711 hello", MILLIS, "info"),
        ("[2026-07-29 12:00:00,123: ERROR/MainProcess] task failed", MILLIS, "error"),
        ("[2026-07-29 12:00:00 +0000] [4711] [CRITICAL] WORKER TIMEOUT", NOON, "fatal"),
        ("INFO:     127.0.0.1:51234 - \"GET / HTTP/1.1\" 200 OK", None, "info"),
        ("2026-07-29 12:00:00.123 | SUCCESS  | app:main:7 - done", MILLIS, "info"),
        # Java: log4j, logback, Spring Boot, java.util.logging, Elasticsearch, Kafka, ZooKeeper
        ("2026-07-29 12:00:00,123 [main] ERROR com.acme.Pay - declined", MILLIS, "error"),
        ("2026-07-29 12:00:00.123  WARN 1 --- [nio-8080-exec-1] c.a.Pay : slow", MILLIS, "warn"),
        ("2026-07-29 12:00:00,123 [http-nio-8080-exec-1] DEBUG c.a.Pay - x", MILLIS, "debug"),
        ("Jul 29, 2026 12:00:00 PM com.acme.Pay charge", NOON, None),
        ("SEVERE: declined", None, "error"),
        ("[2026-07-29T12:00:00,123][WARN ][o.e.n.Node   ] [n1] slow", MILLIS, "warn"),
        ("[2026-07-29 12:00:00,123] INFO [Broker id=1] started (kafka.server)", MILLIS, "info"),
        ("2026-07-29 12:00:00,123 [myid:1] - ERROR [main:Quorum@7] - x", MILLIS, "error"),
        # Go: log, logrus, zap, klog, glog, slog
        ("2026/07/29 12:00:00 listening", NOON, None),
        ("2026/07/29 12:00:00.123000 main.go:10: listening", MILLIS, None),
        ('time="2026-07-29T12:00:00Z" level=warning msg="slow"', NOON, "warn"),
        ("ts=2026-07-29T12:00:00.123Z caller=main.go:7 level=error msg=x", MILLIS, "error"),
        ("level=info ts=1785326400.123 msg=x", MILLIS, "info"),
        ("logger=settings t=2026-07-29T14:00:00+02:00 level=debug msg=x", NOON, "debug"),
        ("time=2026-07-29T12:00:00.123Z level=INFO msg=x took=12ms", MILLIS, "info"),
        ('level=info msg="took long" time=12ms', None, "info"),
        ("2026-07-29T12:00:00.123Z\tINFO\tmain.go:10\tlistening", MILLIS, "info"),
        ("2026-07-29T12:00:00.123Z\twarn\tmain.go:10\tslow", MILLIS, "warn"),
        ("I0729 12:00:00.123000   12345 file.go:123] hello", MILLIS, "info"),
        ("E0729 12:00:00.123000   12345 file.go:123] WARN is a word here", MILLIS, "error"),
        ("F20260729 12:00:00.123000 12345 file.cc:123] dead", MILLIS, "fatal"),
        # Rust, .NET, Ruby, PHP, Node
        ("[2026-07-29T12:00:00Z ERROR app::db] lost", NOON, "error"),
        ("2026-07-29T12:00:00.123000Z  INFO app: started", MILLIS, "info"),
        ("info: Microsoft.Hosting.Lifetime[14]", None, "info"),
        ("fail: Microsoft.AspNetCore.Server.Kestrel[13]", None, "error"),
        ("2026-07-29 12:00:00.123 +00:00 [WRN] slow", MILLIS, "warn"),
        ("I, [2026-07-29T12:00:00.123000 #4711]  INFO -- : hello", MILLIS, "info"),
        ("[29-Jul-2026 12:00:00 UTC] PHP Warning:  undefined in /srv/a.php on line 7", NOON, "warn"),
        ("[2026-07-29 12:00:00] production.ERROR: lost", NOON, "error"),
        ("2026-07-29 12:00:00;ERROR;lost", NOON, "error"),
        ("[29-Jul-2026 12:00:00] NOTICE: fpm is running, pid 1", NOON, "info"),
        ("error: cannot open", None, "error"),
        # Web servers
        ('127.0.0.1 - frank [29/Jul/2026:14:00:00 +0200] "GET /error HTTP/1.0" 200 2326', NOON, None),
        ('www.acme.org:80 10.0.0.1 - - [29/Jul/2026:12:00:00 +0000] "GET / HTTP/1.1" 500 0 "-" "x"', NOON, None),
        ("[Wed Jul 29 12:00:00.123000 2026] [core:error] [pid 7:tid 9] [client ::1] no", MILLIS, "error"),
        ("[Wed Jul 29 12:00:00 2026] [warn] no", NOON, "warn"),
        ("2026/07/29 12:00:00 [crit] 7#0: *1 open() failed", NOON, "fatal"),
        ("1785326400.123    45 10.0.0.1 TCP_MISS/200 1234 GET http://x/", MILLIS, None),
        # Syslog
        ("Jul 29 12:00:00 web01 sshd[123]: Failed password for root", NOON, None),
        ("Jul 29 12:00:00 web01 sshd[123]: error: PAM: no", NOON, "error"),
        ("Jul  9 12:00:00 host kernel: [   12.3] ERROR x", "2026-07-09T12:00:00Z", "error"),
        ("<34>Jul 29 12:00:00 web01 su: failed", NOON, "fatal"),
        ("<165>1 2026-07-29T12:00:00.123Z web01 app 1234 ID47 - ERROR is text", MILLIS, "info"),
        ("<11>hello", None, "error"),
        ("<192>hello", None, None),
        ("Wed Jul 29 12:00:00 UTC 2026 tick", NOON, None),
        ("Wed, 29 Jul 2026 14:00:00 +0200 tick", NOON, None),
        ("type=SYSCALL msg=audit(1785326400.123:24287): arch=c000003e", MILLIS, None),
        # Databases
        ("2026-07-29 12:00:00.123 UTC [77] acme@shop ERROR:  relation is missing", MILLIS, "error"),
        ("2026-07-29 12:00:00.123 UTC [77] LOG:  checkpoint complete", MILLIS, "info"),
        ("2026-07-29T12:00:00.123000Z 0 [Warning] [MY-010055] [Server] x", MILLIS, "warn"),
        ("1:M 29 Jul 2026 12:00:00.123 # WARNING overcommit", MILLIS, "warn"),
        ("1:M 29 Jul 2026 12:00:00.123 * Ready", MILLIS, "info"),
        # Numbers
        ("1785326400 tick", NOON, None),
        ("[1785326400] tick", NOON, None),
        ("1785326400123 tick", MILLIS, None),
        ("1785326400123000 tick", MILLIS, None),
        ("1785326400123000000 tick", MILLIS, None),
        # Containers and colours
        ("web-1  | 2026-07-29T12:00:00Z ERROR no", NOON, "error"),
        ("web-1  | ERROR no", None, "error"),
        ("2026-07-29T12:00:00.123000000Z stderr F panic: no", MILLIS, "fatal"),
        ("\x1b[2m2026-07-29T12:00:00Z\x1b[0m \x1b[31mERROR\x1b[0m no", NOON, "error"),
        ("\x1b[33mWARN\x1b[39m slow", None, "warn"),
        ('2026-07-29T12:00:00Z {"level":"error","msg":"x"}', NOON, "error"),
        ('{"level":"warn","msg":"x"}', None, "warn"),
    ],
)  # fmt: skip
def test_common_forms_are_recognised(line: str, time: str | None, level: str | None) -> None:
    assert read(line) == (time, level)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        "  2026-07-29T12:00:00Z ERROR indented lines continue another",
        "\tat com.acme.Pay.charge(Pay.java:7)",
        "12:00:00.123 a time without a date",
        "26/07/29 12:00:00 two digits of a year",
        "00:11:22:33:44:55 ERROR is behind a hardware address",
        "07/08/2026 12:00:00 which is the month",
        "2026-13-29 12:00:00 no such month",
        "2026-02-30 12:00:00 no such day",
        "2026-07-29 25:00:00 no such hour",
        "2027-07-29 12:00:00 the future",
        "1969-07-29 12:00:00 before 1970",
        "2026-07-29 12:00-13:00 two times",
        "1234567 a small number",
        "17853264001 eleven digits",
        "0171-1234567 a telephone",
        "10.0.0.1 an address",
        "[   12.345678] since the start of the kernel",
        "Feb 30 12:00:00 web01 no such day",
        "Error while paying",
        "Information about ERROR codes",
        "an error: not at the beginning",
        "user=4711 status=error",
        "warning",
        "infoscreen: on",
        "I am not klog",
        "Traceback (most recent call last):",
        "{",
    ],
)
def test_nothing_is_invented(line: str) -> None:
    assert read(line) == (None, None)


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("[12:00:00 FTL] Serilog on the console", "fatal"),
        ("12:00:00.123 [main] WARN logback", "warn"),
        ("12:00:00,123 ERROR no date", "error"),
        ("info 12:00:00 no date", "info"),
        ("26/07/29 12:00:00 ERROR log4j of Hadoop", "error"),
        ("07/08/2026 12:00:00 ERROR which is the month", "error"),
        ("2026-02-30 12:00:00 [error] no such day", "error"),
        ("2099-07-29 12:00:00 FATAL a clock that is wrong", "fatal"),
    ],
)
def test_the_level_beside_a_time_that_is_not_taken_is_read(line: str, level: str) -> None:
    assert read(line) == (None, level)


@pytest.mark.parametrize(
    "message",
    [
        "Received ERROR from the server",
        "user alice saw ERROR 7",
        "the level is set to DEBUG",
        "GET /error 200",
        "retrying after error",
        "Errors: 0",
        "status=error",
        "http://host/fatal:8080",
    ],
)
def test_a_word_in_a_sentence_is_not_a_level(message: str) -> None:
    assert read(f"2026-07-29T12:00:00Z {message}") == (NOON, None)


@pytest.mark.parametrize(
    ("line", "now", "time"),
    [
        ("Dec 31 23:59:59 h x: y", datetime(2027, 1, 1, 0, 5, tzinfo=UTC), "2026-12-31T23:59:59Z"),
        ("Jan  1 00:00:01 h x: y", datetime(2026, 12, 31, 23, 59, tzinfo=UTC), "2027-01-01T00:00:01Z"),
        ("Jan  1 00:00:01 h x: y", datetime(2027, 1, 1, 0, 5, tzinfo=UTC), "2027-01-01T00:00:01Z"),
        ("Jan  3 00:00:01 h x: y", datetime(2026, 12, 31, 23, 59, tzinfo=UTC), "2026-01-03T00:00:01Z"),
        ("Feb 29 12:00:00 h x: y", datetime(2026, 8, 1, tzinfo=UTC), "2024-02-29T12:00:00Z"),
        ("I1231 23:59:59.500000 1 a.go:1] y", datetime(2027, 1, 1, 0, 5, tzinfo=UTC), "2026-12-31T23:59:59.5Z"),
    ],
)
def test_a_missing_year_is_the_last_possible_one(line: str, now: datetime, time: str) -> None:
    assert read(line, now)[0] == time


@pytest.mark.parametrize(
    ("line", "zone", "time"),
    [
        ("2026-07-29 12:00:00 x", timezone(timedelta(hours=2)), "2026-07-29T10:00:00Z"),
        ("2026-07-29 12:00:00 x", ZoneInfo("Europe/Berlin"), "2026-07-29T10:00:00Z"),
        ("2026-01-29 12:00:00 x", ZoneInfo("Europe/Berlin"), "2026-01-29T11:00:00Z"),
        ("2026-07-29 12:00:00 CEST x", ZoneInfo("Europe/Berlin"), "2026-07-29T10:00:00Z"),
        ("2025-10-26 02:30:00 twice", ZoneInfo("Europe/Berlin"), "2025-10-26T00:30:00Z"),
        ("2026-07-29 12:00:00Z x", ZoneInfo("Europe/Berlin"), NOON),
        ("Jul 29 12:00:00 h x", ZoneInfo("Asia/Kolkata"), "2026-07-29T06:30:00Z"),
        ("1785326400 x", ZoneInfo("Asia/Kolkata"), NOON),
    ],
)
def test_a_time_without_a_zone_is_one_of_the_zone_that_is_given(line: str, zone: object, time: str) -> None:
    assert read(line, zone=zone)[0] == time


def test_without_a_zone_it_is_that_of_this_machine() -> None:
    found = read("2026-07-29 12:00:00 x", zone=None)[0]
    assert found == text_of(int(datetime(2026, 7, 29, 12).timestamp()) * SECOND)  # noqa: DTZ001


def test_a_year_is_chosen_by_when_the_file_was_written() -> None:
    written = datetime(2023, 3, 1, tzinfo=UTC)
    found = LineHeads(UTC, (NOW + DAY).timestamp(), (written + DAY).timestamp())
    assert found.read("Feb 28 12:00:00 h x").time_ns == datetime(2023, 2, 28, 12, tzinfo=UTC).timestamp() * SECOND
    assert found.read("2026-07-29 12:00:00 x").time_ns is not None


@pytest.mark.parametrize("word", [*LEVEL_WORDS, *WORDS_WITH_COLON])
def test_every_word_means_what_it_means_to_ingest(word: str) -> None:
    assert read(f"{NOON} {word.upper()}: x")[1] == severity(word)


@given(st.text(max_size=200))
def test_any_line_is_read(line: str) -> None:
    assert isinstance(heads().read(line), LineHead)


@given(st.text("0123456789-:/.,TZ+ []<>()|=\"'JulInfoERROR{}", max_size=60))
def test_any_line_that_looks_like_a_head_is_read(line: str) -> None:
    found = heads().read(line)
    assert found.time_ns is None or 0 <= found.time_ns <= (NOW + DAY).timestamp() * SECOND


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2026, 7, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from(
        ("%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S,%f +0000", "%Y/%m/%d %H:%M:%S.%f", "%d-%b-%Y %H:%M:%S.%f")
    ),
)
def test_a_time_is_read_as_it_was_written(moment: datetime, form: str) -> None:
    found = heads().read(f"{moment.strftime(form)} x").time_ns
    whole = moment.replace(microsecond=0)
    assert found == int(whole.timestamp()) * SECOND + moment.microsecond * 1000
