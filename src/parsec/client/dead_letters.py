"""Dead letters as a client sees them."""

import msgspec


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What could not become a row. `position` is `log_id/partition/offset`; the bytes come with `Client.dead_letter`.

    `raw` holds them where they are UTF-8, else `raw_base64` does.
    """

    position: str
    time: str
    reason: str
    tenant_id: str = ""
    stage: str = ""
    detail: str = ""
    raw_bytes: int = 0
    raw: str | None = None
    raw_base64: str | None = None


class LetterPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of `GET /deadletters`; `cursor` is None at the end."""

    dead_letters: list[Letter]
    cursor: str | None = None
