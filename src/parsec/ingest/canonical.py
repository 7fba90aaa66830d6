"""Tenants, sources and severities: the words that repeat from event to event, each to its one spelling.

In: the text as sent. Out: its canonical form, remembered, because millions of events share a few of them.
Errors: Rejected(missing_field, invalid_tenant_id, invalid_source, invalid_severity). Next: parsec.ingest.normalize.
"""

from collections.abc import Callable
from typing import TypeVar

from parsec.core.envelope import MAX_SOURCE_CHARS
from parsec.core.errors import Rejected
from parsec.core.severity import ALIASES, SEVERITIES
from parsec.core.tenant import tenant_name

REMEMBERED = 4096
"""Entries of each memory; it starts anew when full, so names made up by a tenant cannot grow it."""

_LONGEST_REMEMBERED = 300


Remembered = TypeVar("Remembered")


class Memory(dict[str, Remembered]):
    """Answers a known text at once, asks the rule about a new one, and never holds more than REMEMBERED."""

    def __init__(self, rule: Callable[[str], Remembered]) -> None:
        super().__init__()
        self._rule = rule

    def __missing__(self, text: str) -> Remembered:
        found = self._rule(text)
        if len(text) <= _LONGEST_REMEMBERED:
            if len(self) >= REMEMBERED:
                self.clear()
            self[text] = found
        return found


def tenant_rule(text: str) -> str:
    """See parsec.core.tenant."""
    name = text.strip()
    if not name:
        raise missing("tenant_id")
    spelled = tenant_name(name)
    if spelled is None:
        raise Rejected(
            "invalid_tenant_id",
            f"tenant_id {name[:64]!r} must be 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit.",
            field="tenant_id",
        )
    return spelled


def source_rule(text: str) -> str:
    """Trimmed, lower case, 1 to 256 characters."""
    name = text.strip().lower()
    if not name:
        raise missing("source")
    if len(name) > MAX_SOURCE_CHARS:
        raise Rejected(
            "invalid_source", f"source has {len(name)} characters; at most {MAX_SOURCE_CHARS} fit.", field="source"
        )
    return name


def severity_rule(text: str) -> str:
    """One of SEVERITIES, by any of their aliases."""
    name = text.strip().lower()
    if not name:
        raise missing("severity")
    severity = ALIASES.get(name)
    if severity is None:
        raise Rejected(
            "invalid_severity",
            f"severity {name[:64]!r} is unknown; send one of {', '.join(SEVERITIES)}.",
            field="severity",
        )
    return severity


def missing(field: str) -> Rejected:
    """A required field is absent, null or blank."""
    return Rejected("missing_field", f"{field} is missing or blank; every event needs one.", field=field)


TENANTS = Memory(tenant_rule)
SOURCES = Memory(source_rule)
SEVERITY_NAMES = Memory(severity_rule)
