"""What senders send comes back as they sent it, and no event decides about another: through the real process."""

import subprocess
import sys
from typing import Any

import pytest

from tests.support.ingesting import compact, event, lines
from tests.support.process import Parsec

PAST = "2026-01-21T14:00:00.123Z"

MESSAGES = [
    "  indented", "\tat f(x)", "a\n", "\n\na", "a\r", " a ", "\x00a\x00", "\x1b[31mred\x1b[0m ", "\u3000a\u00a0",
    "\ufeffa", "C:\\x\\", '"', "'", "\\n", "a\x1f", "\x85a", "\u2028a", "\U0001f600 ", "x" * 10_000 + " ",
]  # fmt: skip


def sent(**changes: Any) -> dict[str, Any]:
    return event(**{"timestamp": PAST, "metadata": None} | changes)


def test_messages_come_back_as_sent_and_are_found(parsec: Parsec) -> None:
    odd: list[Any] = [*MESSAGES, "", None, "  \n", [104, 105, 255], {"a": [1]}, 5]
    body = [sent(tenant_id="messages", id=f"m{n}", message=text, n=n) for n, text in enumerate(odd)]
    assert parsec.ingest(body)[1]["accepted"] == len(odd)
    parsec.wait_processed()
    found = {one["id"]: one["message"] for one in parsec.search("messages")}
    kept = [text.removesuffix("\n") for text in MESSAGES] + ["", "", "", "hi\\xff", '{"a": [1]}', "5"]
    assert [found[f"m{n}"] for n in range(len(odd))] == kept
    assert len(parsec.search("messages", q="red OR indented")) == 2
    assert len(parsec.search("messages", q="*")) == len(odd)


def test_blank_events_are_counted_and_no_error(parsec: Parsec) -> None:
    before = parsec.stats()["ingest"]
    blank = [sent(tenant_id="blank", message=text) for text in ("", " \n", None)]
    status, answer = parsec.ingest(blank)
    assert (status, answer["success"], answer["accepted"], answer["rejected"], answer["blank"]) == (200, True, 0, 0, 3)
    status, answer = parsec.ingest([*blank, sent(tenant_id="blank"), sent(tenant_id="blank", timestamp="soon")])
    assert (status, answer["accepted"], answer["rejected"], answer["blank"]) == (200, 1, 1, 3)
    after = parsec.stats()["ingest"]
    assert {name: after[name] - before[name] for name in after} == {"accepted": 1, "rejected": 1, "blank": 6}
    assert b"parsec_ingest_events_blank_total 6.0" in parsec.request("GET", "/metrics")[2]


@pytest.mark.parametrize(
    ("spelled", "severity", "word"),
    [
        ("FTL", "fatal", ...), (60, "fatal", ...), ("\x1b[31mFATAL\x1b[0m", "fatal", ...), ("silly", "trace", ...),
        ("loud", "info", "loud"), ([1], "info", [1]), (None, "info", None), (True, "info", True),
    ],
)  # fmt: skip
def test_severities_are_understood_and_unknown_ones_kept(
    parsec: Parsec, spelled: Any, severity: str, word: Any
) -> None:
    tenant = f"severity-{str(spelled).strip('[]').encode().hex()}-{severity}"
    body = compact(sent(tenant_id=tenant) | {"severity": spelled})
    assert parsec.ingest(body)[0] == 200
    parsec.wait_processed()
    (found,) = parsec.search(tenant, q=f"severity:{severity}")
    assert found["metadata"] == ({} if word is ... else {"_severity": word})
    if word is not ...:
        assert parsec.search(tenant, q="metadata._severity:*") == ([] if word is None else [found])


@pytest.mark.parametrize("batch", [1, 500])
def test_a_pipe_goes_on_after_a_bad_line(parsec: Parsec, batch: int) -> None:
    """One that is alive: each line is written after the verdict on the one before could have ended the command."""
    tenant = f"pipe-{batch}"
    url = f"http://127.0.0.1:{parsec.port}"
    command = [sys.executable, "-m", "parsec", "send", "--url", url, "--batch", str(batch), "--tenant", tenant, "-"]
    good = [lines([sent(tenant_id=None, id=f"p{n}", n=n)]) for n in range(4)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as sending:
        assert sending.stdin is not None
        for text in (good[0], b'{"a":NaN}\n', good[1], b"not json \xff\n", b'{"a": [\n', good[2]):
            sending.stdin.write(text)
            sending.stdin.flush()
        for _ in range(200):
            if len(parsec.search(tenant)) == 3:
                break
        assert sending.poll() is None
        _, errors = sending.communicate(good[3], timeout=30)
    assert sending.returncode == 1
    told = errors.decode().splitlines()
    assert [line.partition(": ")[0] for line in told] == ["line 2", "line 4", "line 5"]
    assert "NaN" in told[0]
    parsec.wait_processed()
    assert {one["id"] for one in parsec.search(tenant)} == {"p0", "p1", "p2", "p3"}
