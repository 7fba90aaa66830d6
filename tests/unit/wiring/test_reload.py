"""The settings file while Parsec runs."""

from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture
from structlog.typing import EventDict

from parsec.ingest.rate_limits import Policy
from parsec.loading import load
from parsec.wiring import reload
from parsec.wiring.reload import DEFAULT, SettingsFile, policy_of


class Rig:
    """A settings file, and the policies that were applied from it."""

    def __init__(self, directory: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.captured = LogCapture()
        monkeypatch.setattr(
            reload, "_log", structlog.wrap_logger(None, [self.captured], wrapper_class=structlog.BoundLogger)
        )
        self.path = directory / "parsec.toml"
        self.path.write_text(content)
        self.applied: list[Policy] = []
        self.file = SettingsFile(load({}, {}, self.path), self.applied.append)

    def reload(self, content: str | None) -> list[EventDict]:
        """The log lines of it. None: the file is gone."""
        if content is None:
            self.path.unlink()
        else:
            self.path.write_text(content)
        self.captured.entries.clear()
        self.file.reload()
        return list(self.captured.entries)


def test_changed_limits_are_applied_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig(tmp_path, "limit-events-per-s = 10\n[tenants.a]\nlimit-events-per-s = 1\n[tenants.b]\n", monkeypatch)
    (line,) = rig.reload("limit-events-per-s = 10\n[tenants.a]\nlimit-events-per-s = 2\n[tenants.c]\n")
    assert (line["log_level"], line["changed"], line["tenants"]) == ("info", ["a"], 2)
    (line,) = rig.reload("limit-events-per-s = 20\n[tenants.a]\nlimit-events-per-s = 2\n")
    assert line["changed"] == [DEFAULT, "c"]
    assert rig.applied[-1] == policy_of(load({}, {}, rig.path))


@pytest.mark.parametrize(
    "content", ["limit-events-per-s = many", "[[", "[tenants.a]\nretention = 1\n", "limits-events-per-s = 1"]
)
def test_a_file_with_faults_changes_nothing_and_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    rig = Rig(tmp_path, "limit-events-per-s = 10", monkeypatch)
    (line,) = rig.reload(content)
    assert (line["log_level"], rig.applied) == ("error", [])
    assert "stays so" in str(line["event"])
    assert line["faults"]
    (line,) = rig.reload(None)
    assert (line["log_level"], rig.applied) == ("error", [])


def test_other_settings_are_named_as_needing_a_restart_until_they_are_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, "log-level = 'info'\nmax-body-bytes = '1MiB'\n", monkeypatch)
    for _ in range(2):
        _, line = rig.reload("log-level = 'debug'\nmax-body-bytes = '2MiB'\nlimit-events-per-s = 1\n")
        assert (line["log_level"], line["settings"]) == ("warning", ["PARSEC_LOG_LEVEL", "PARSEC_MAX_BODY_BYTES"])
    assert len(rig.reload("log-level = 'info'\nmax-body-bytes = '1MiB'\n")) == 1


def test_without_a_file_there_is_nothing_to_reload() -> None:
    applied: list[Policy] = []
    SettingsFile(load({}, {}), applied.append).reload()
    assert applied == []
