"""The parameters of an address, checked. Errors: Rejected with the name of the parameter."""

from collections.abc import Collection

from starlette.requests import Request

from parsec.core.clock import Clock
from parsec.core.errors import Rejected
from parsec.keys.caller import Caller
from parsec.keys.cursor_cipher import CursorCipher
from parsec.query.timerange import TimeRange, timerange

DEFAULT_LIMIT = 100
MAX_LIMIT = 10_000
"""Of anything that comes in pages."""


class Parameters:
    """Those of one request. `repeatable` may stand there several times, the others once, or with one value."""

    def __init__(self, request: Request, known: Collection[str], repeatable: Collection[str] = ()) -> None:
        self._caller: Caller = request.scope["caller"]
        self._seal: CursorCipher | None = request.scope["seal"]
        self._given: dict[str, str] = {}
        self._lists: dict[str, list[str]] = {name: [] for name in repeatable}
        for name, value in request.query_params.multi_items():
            if name in self._lists:
                self._lists[name].append(value)
            elif name not in known:
                raise Rejected("unknown_parameter", f"There is {', '.join((*known, *repeatable))}.", field=name)
            elif self._given.setdefault(name, value) != value:
                raise Rejected("invalid_parameter", "It is given twice, with different values.", field=name)

    def text(self, name: str) -> str | None:
        return self._given.get(name)

    def all(self, name: str) -> list[str]:
        """Every value of a repeatable one, in order."""
        return self._lists[name]

    def tenant(self, untold: str = "") -> str:
        """Whose events: the key's tenant, or the parameter's for who may name any. `untold`: a word for nobody's."""
        tenant, own = self._given.get("tenant", "").strip().lower(), self._caller.tenant
        if untold and tenant == untold:
            self._caller.must("admin")
        elif own is not None:
            if tenant not in ("", own):
                message = "This API key is for another tenant; leave the parameter out."
                raise Rejected("wrong_tenant", message, field="tenant", status=403)
            return own
        elif not tenant:
            message = "Say whose events: ?tenant=... (--tenant, or PARSEC_TENANT)"
            raise Rejected("missing_parameter", message, field="tenant")
        return tenant

    def cursor(self) -> str | None:
        """As parsec.query gave it; what it never gave becomes what it cannot read."""
        text = self._given.get("cursor")
        return text if not text or self._seal is None else self._seal.opened(text) or "-"

    def sealed(self, cursor: str | None) -> str | None:
        """The cursor as a client may see it."""
        return cursor if cursor is None or self._seal is None else self._seal.shut(cursor)

    def between(self, clock: Clock, start: str | None = None) -> TimeRange:
        """`from` to `to`; `start` stands in for an absent `from`, else it is an hour before the end."""
        return timerange(self._given.get("from", start), self._given.get("to"), clock)

    def whole(self, name: str, default: int, least: int, most: int) -> int:
        return whole(self._given.get(name, str(default)), name, least, most)

    def one_of(self, name: str, *choices: str) -> str:
        """The first one when none is given."""
        value = self._given.get(name, choices[0])
        if value not in choices:
            raise Rejected("invalid_parameter", f"{name} is one of {', '.join(choices)}.", field=name)
        return value


def whole(text: str, name: str, least: int, most: int) -> int:
    """A whole number within bounds."""
    if len(text) > 20 or not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise Rejected("invalid_parameter", f"{name} must be a whole number from {least} to {most}.", field=name)
    return int(text)
