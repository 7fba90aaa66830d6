"""deploy/: what the dashboard and the alert rules ask for is in the catalogue of metrics, by name and by label."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from parsec.telemetry import Telemetry

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "parsec.json").read_text())
RULES = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())["groups"][0]["rules"]

OF_THE_SCRAPE = {"job", "instance"}
WITHOUT_CATALOGUE = {"up": set[str]()}
"""What Prometheus itself adds."""

_STRING = re.compile(r'"[^"]*"')
_SELECTOR = re.compile(r"\b([a-z_][a-z0-9_]*)\s*(?:{([^}]*)})?")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_WORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "unless", "or", "and", "offset", "m", "h"}


def series() -> dict[str, set[str]]:
    """Every series of /metrics, and its labels."""
    found = dict(WITHOUT_CATALOGUE)
    for metric in Telemetry().catalogue:
        labels = set(metric.labels)
        if metric.kind == "histogram":
            found |= {f"{metric.name}_bucket": labels | {"le"}, f"{metric.name}_sum": labels}
            found |= {f"{metric.name}_count": labels}
        else:
            found[metric.name] = labels
    return found


SERIES = series()


def faults(expr: str) -> list[str]:
    """What an expression asks for that there is not."""
    bare = _STRING.sub('""', expr)
    groups = [label.strip() for inside in _GROUPING.findall(bare) for label in inside.split(",") if label.strip()]
    bare = _GROUPING.sub(" ", bare)
    wrong, labels = [], set(OF_THE_SCRAPE)
    for name, matchers in _SELECTOR.findall(bare):
        if re.search(rf"\b{name}\s*\(", bare) or name in _WORDS or name.startswith("__"):
            continue  # a function
        if name not in SERIES:
            wrong.append(name)
            continue
        labels |= SERIES[name]
        asked = {matcher.split("=")[0].rstrip("!~ ") for matcher in matchers.split(",") if matcher}
        wrong += [f"{name}{{{label}}}" for label in sorted(asked - SERIES[name] - OF_THE_SCRAPE)]
    return wrong + [f"by {label}" for label in groups if label not in labels]


def targets() -> Iterator[tuple[str, str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], re.sub(r"\$__\w+", "5m", target["expr"]), target["legendFormat"]


def label_names(template: str) -> set[str]:
    return set(re.findall(r"{{\s*(?:\$labels\.)?(\w+)\s*}}", template))


@pytest.mark.parametrize(("title", "expr", "legend"), list(targets()))
def test_a_panel_asks_for_what_there_is(title: str, expr: str, legend: str) -> None:
    del title
    assert re.search(r"\b(parsec|process)_", expr)
    assert faults(expr) == []
    assert label_names(legend) <= set(re.findall(r"\w+", " ".join(_GROUPING.findall(expr)))) | OF_THE_SCRAPE


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_what_there_is_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"Parsec[A-Z][A-Za-z]+", rule["alert"])
    assert faults(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")
    labels = set().union(*SERIES.values(), OF_THE_SCRAPE)
    assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= labels


def test_every_metric_by_name_of_tenants_ledger_and_losses_is_shown() -> None:
    """A metric may be left out of the dashboard, but not those that promises rest on."""
    shown = " ".join(expr for _, expr, _ in targets())
    for name in ("parsec_ledger_difference_events", "parsec_process_tenant_events_total", 'fate="lost"', 'fate="dead"'):
        assert name in shown


def test_the_dashboard_is_sound() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables.keys() == {"datasource", "job", "instance"}
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels if panel["type"] != "row")
    rows = [panel["title"] for panel in panels if panel["type"] == "row"]
    assert len(rows) == len(set(rows)) == 10
    places = {(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}
    assert len(places) == len(panels)
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in panels)


def test_the_check_finds_what_is_wrong() -> None:
    assert faults("parsec_no_such_total") == ["parsec_no_such_total"]
    assert faults('rate(parsec_process_events_total{fate="x",colour=~"y"}[5m])') == [
        "parsec_process_events_total{colour}"
    ]
    assert faults("sum by (colour) (parsec_ready)") == ["by colour"]
    assert faults("sum by (le) (rate(parsec_publish_latency_seconds_bucket[5m]))") == []


needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


@needs_promtool
@pytest.mark.parametrize("what", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")])
def test_prometheus_takes_the_rules_and_they_fire(what: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *what], cwd=DEPLOY / "prometheus", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_reads_what_the_panels_ask_for(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": expr} for n, (_, expr, _) in enumerate(targets())]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", "panels.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
