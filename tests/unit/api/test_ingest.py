"""The list of codes, the page about them and what the code raises are the same."""

import ast
import re
from pathlib import Path

from parsec.api.ingest import CODES, CONTENT_CODES
from parsec.core.severity import SEVERITIES, SEVERITY_ALIASES
from parsec.ingest.field_mapping import CONSTANTS
from parsec.web.http1.refusals import BODY_TOO_SLOW

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "errors.md").read_text()
PACKAGE = ROOT / "src" / "parsec"
AT_THE_DOOR = ("web/routes/ingest.py", "web/auth.py", "keys/key.py", "keys/keyring.py")
SOURCES = [
    *(PACKAGE / "ingest").rglob("*.py"),
    PACKAGE / "api" / "event_rules.py",
    PACKAGE / "core" / "timestamp.py",
    *(PACKAGE / name for name in AT_THE_DOOR),
]
MAKERS = {"Rejected", "Fault", "IngestError", "Overload", "_nothing_accepted"}


def rows(heading: str) -> dict[str, list[str]]:
    """Of the table under a heading, by the code in the first column."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"`\w+`", cells[0]):
            found[cells[0].strip("`")] = cells[1:]
    return found


def raised() -> set[str]:
    """Codes written in calls that make an error; f"invalid_{field}" stands for several and is told below."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
                if name in MAKERS and texts and re.fullmatch(r"[a-z0-9_]+", texts[0]):
                    found.add(texts[0])
    return found | {BODY_TOO_SLOW.code}  # the latter is what both ways of a slow body say


def test_the_page_has_every_code_and_no_other() -> None:
    whole, one, not_now = rows("The body as a whole"), rows("One event"), rows("Temporary errors")
    assert whole.keys() | one.keys() | not_now.keys() == CODES.keys()
    for code, cells in (whole | not_now).items():
        assert cells[0] == str(CODES[code].status), code
    assert not_now.keys() == {code for code, about in CODES.items() if about.retryable}
    for code in one:
        about = CODES[code]
        around_the_body = code == "tenant_mismatch" or code.removeprefix("invalid_") in CONSTANTS
        assert about.status is None or around_the_body, code


def test_the_code_raises_every_code_and_no_other() -> None:
    assert raised() == CODES.keys()


def test_a_code_about_the_content_is_one_of_a_refused_request() -> None:
    assert CONTENT_CODES - CODES.keys() <= {"http_413"}
    assert not any(CODES[code].retryable for code in CONTENT_CODES & CODES.keys())


def test_every_meaning_is_a_sentence() -> None:
    assert all(re.fullmatch(r"[A-Z].+\.", about.meaning) for about in CODES.values())


def test_the_page_has_every_severity_and_its_spellings() -> None:
    tables = rows("Severities")  # the second one is about numbers
    told = {name: set(re.findall(r"`(\w+)`", tables[name][0])) for name in SEVERITIES}
    assert {alias: name for name, aliases in told.items() for alias in (name, *aliases)} == SEVERITY_ALIASES
