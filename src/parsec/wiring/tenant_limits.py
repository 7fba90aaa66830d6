"""Limits per tenant from the settings and their file, reloaded when the file changes.

In: loaded settings. Out: a Policy. Errors: a file with faults is logged, and the limits stay as they were.
Next: parsec.ingest.rate_limits.
"""

from collections.abc import Callable

import structlog

from parsec.core.errors import BadSettings
from parsec.core.file_watch import WatchedFile
from parsec.ingest.rate_limits import Allowance, Policy
from parsec.ingest.token_bucket import Rate
from parsec.loading import Loaded
from parsec.settings import Settings, catalogue

BURST_S = 2.0
"""A tenant that sent nothing for a while may send the limit of so many seconds at once."""

_log = structlog.get_logger(__name__)


def policy_of(loaded: Loaded) -> Policy:
    """The default limits, and those of tenants with a table of their own."""
    return Policy(_allowance(loaded.settings), {name: _allowance(own) for name, own in loaded.tenants.items()})


def _allowance(settings: Settings) -> Allowance:
    return Allowance(
        _rate(settings.limit_events_per_s),
        _rate(settings.limit_bytes_per_s),
    )


def _rate(per_s: float) -> Rate | None:
    return Rate(per_s, max(1.0, per_s * BURST_S)) if per_s else None


class LimitsFile:
    """The settings file while Parsec runs."""

    def __init__(self, loaded: Loaded, apply: Callable[[Policy], None]) -> None:
        self._loaded = loaded
        self._apply = apply
        self._file = WatchedFile(loaded.file) if loaded.file is not None else None

    def reload_if_changed(self) -> None:
        """Apply the limits of the file, if it has changed."""
        if self._file is None or not self._file.changed():
            return
        try:
            found = self._loaded.again()
        except BadSettings as error:
            _log.warning("The settings file has faults; limits stay as they were.", faults=error.problems)
            return
        self._apply(policy_of(found))
        _log.info("Tenant limits reloaded from the settings file.", tenants=len(found.tenants))
        waiting = [
            one.env
            for one in catalogue()
            if not one.spec.per_tenant and getattr(found.settings, one.name) != getattr(self._loaded.settings, one.name)
        ]
        if waiting:
            _log.warning("Other changed settings need a restart.", settings=waiting)
