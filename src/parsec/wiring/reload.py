"""Reload what may change while Parsec runs: tenant limits of the settings file, API keys, the TLS certificate.

In: SIGHUP, or a file that has changed. Out: the new values in force, and log lines that say which; settings that need a
restart are named. Errors: none; a file with faults is logged as ERROR, and what was in force stays so.
Next: parsec.wiring.serve.
"""

from collections.abc import Callable, Mapping, Sequence

import structlog

from parsec.core.errors import BadSettings
from parsec.core.file_watch import WatchedFile
from parsec.ingest.rate_limits import Allowance, Policy, Rate
from parsec.loading import Loaded
from parsec.settings import Settings, catalogue

BURST_S = 2.0
"""A tenant that sent nothing for a while may send the limit of so many seconds at once."""
DEFAULT = "(default)"
"""Stands among the names of tenants for the limits of all others."""

_log = structlog.get_logger(__name__)


def policy_of(loaded: Loaded) -> Policy:
    """The default limits, and those of tenants with a table of their own."""
    return Policy(_allowance(loaded.settings), _own(loaded))


def _own(loaded: Loaded) -> dict[str, Allowance]:
    return {name: _allowance(own) for name, own in loaded.tenants.items()}


def _allowance(settings: Settings) -> Allowance:
    return Allowance(_rate(settings.limit_events_per_s), _rate(settings.limit_bytes_per_s))


def _rate(per_s: float) -> Rate | None:
    return Rate(per_s, max(1.0, per_s * BURST_S)) if per_s else None


class SettingsFile:
    """The settings file while Parsec runs. Used on the event loop."""

    def __init__(self, loaded: Loaded, apply: Callable[[Policy], None]) -> None:
        self._loaded = loaded
        self._apply = apply
        self._limits = _limits(loaded)
        self._file = WatchedFile(loaded.file) if loaded.file is not None else None

    def reload_if_changed(self) -> None:
        """Apply the limits of the file, if it has changed."""
        if self._file is not None and self._file.changed():
            self.reload()

    def reload(self) -> None:
        """Apply the limits of the file."""
        if self._file is None:
            return
        self._file.changed()  # this is the version that is seen
        try:
            found = self._loaded.reload()
        except BadSettings as error:
            _log.error("The settings file has faults; what was in force stays so.", faults=error.problems)
            return
        before, self._limits = self._limits, _limits(found)
        changed = [name for name in sorted({*before, *self._limits}) if _of(before, name) != _of(self._limits, name)]
        self._apply(policy_of(found))
        _log.info("Tenant limits reloaded from the settings file.", tenants=len(found.tenants), changed=changed)
        waiting = [
            one.env
            for one in catalogue()
            if not one.spec.per_tenant and getattr(found.settings, one.name) != getattr(self._loaded.settings, one.name)
        ]
        if waiting:
            _log.warning("Other changed settings need a restart.", settings=waiting)


def _limits(loaded: Loaded) -> dict[str, Allowance]:
    return {DEFAULT: _allowance(loaded.settings), **_own(loaded)}


def _of(limits: Mapping[str, Allowance], tenant: str) -> Allowance:
    return limits.get(tenant, limits[DEFAULT])


def reload_all(reloads: Sequence[Callable[[], None]]) -> None:
    """For SIGHUP: each reloads one thing and logs what it did."""
    for reload in reloads:
        reload()
    _log.info("API keys, tenant limits and the TLS certificate were loaded again (SIGHUP).")
