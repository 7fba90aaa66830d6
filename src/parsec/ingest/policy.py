"""Who may send how much, from the settings and their file, read again when the file changes.

In: loaded settings. Out: a Policy. Errors: a file that cannot be used any more is logged, and what held goes on.
Next: parsec.ingest.rate_limits.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
import structlog

from parsec.core.errors import BadSettings
from parsec.core.file_watch import WatchedFile
from parsec.ingest.token_bucket import Rate
from parsec.loading import Loaded
from parsec.settings import Settings, catalogue

BURST_S = 2.0
"""How much may come at once where nothing is said: what so many seconds bring."""

What = Literal["events", "bytes"]

_log = structlog.get_logger(__name__)


class Allowance(msgspec.Struct, frozen=True):
    """What one tenant may send; None: as much as it likes."""

    events: Rate | None = None
    bytes: Rate | None = None

    def rates(self) -> Sequence[tuple[What, Rate | None]]:
        return ("events", self.events), ("bytes", self.bytes)


UNLIMITED = Allowance()


class Policy(msgspec.Struct, frozen=True):
    """The allowance of everybody, and of those who have one of their own."""

    default: Allowance = UNLIMITED
    tenants: Mapping[str, Allowance] = {}

    def of(self, tenant: str) -> Allowance:
        return self.tenants.get(tenant, self.default)

    @property
    def limits_nobody(self) -> bool:
        return all(one == UNLIMITED for one in (self.default, *self.tenants.values()))


def policy_of(loaded: Loaded) -> Policy:
    """What the settings say."""
    return Policy(_allowance(loaded.settings), {name: _allowance(own) for name, own in loaded.tenants.items()})


def _allowance(settings: Settings) -> Allowance:
    return Allowance(
        _rate(settings.limit_events_per_s, settings.limit_events_burst),
        _rate(settings.limit_bytes_per_s, settings.limit_bytes_burst),
    )


def _rate(per_s: float, burst: float) -> Rate | None:
    return Rate(per_s, max(1.0, burst or per_s * BURST_S)) if per_s else None


class PolicyFile:
    """Looks after the settings file while Parsec runs."""

    def __init__(self, loaded: Loaded, apply: Callable[[Policy], None]) -> None:
        self._loaded = loaded
        self._apply = apply
        self._file = WatchedFile(loaded.file) if loaded.file is not None else None

    def tick(self) -> None:
        """Applies what the file says now, if it has changed."""
        if self._file is None or not self._file.changed():
            return
        try:
            found = self._loaded.again()
        except BadSettings as error:
            _log.warning("The settings file has faults; limits stay as they were.", faults=error.problems)
            return
        self._apply(policy_of(found))
        _log.info("The limits of tenants are those of the settings file now.", tenants=len(found.tenants))
        waiting = [
            one.env
            for one in catalogue()
            if not one.spec.per_tenant and getattr(found.settings, one.name) != getattr(self._loaded.settings, one.name)
        ]
        if waiting:
            _log.warning("Other settings of the file hold from the next start on.", settings=waiting)
