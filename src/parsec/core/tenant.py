"""What a tenant may be called. In: a text. Out: its one spelling, or None."""

import re

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""Names in that spelling."""


def tenant_name(text: str) -> str | None:
    """Trimmed and in lower case. Not ASCII is refused first: some such letters become ASCII in lower case, and one
    tenant must not be able to spell another's name."""
    name = text.strip()
    lowered = name.lower()
    return lowered if name.isascii() and NAME.fullmatch(lowered) else None
