"""`parsec reference`: print docs/settings.md, docs/metrics.md or openapi.yaml, which `make check` compares.

In: the catalogues of settings and metrics, and the structs of parsec.api. Out: Markdown, or YAML.
"""

from collections.abc import Iterator
from typing import get_args, get_origin

import click

from parsec.core.units import Unit, show_quantity
from parsec.settings import Setting, catalogue

_SETTINGS_HEAD = """# Settings

Made by `parsec reference settings` from [src/parsec/settings.py](../src/parsec/settings.py); do not edit.

Each setting can be given as a flag, as an environment variable, or in a TOML file (`--config FILE` or `PARSEC_CONFIG`)
under the flag's name without the dashes in front. The first of these that has it counts: flag, environment, file,
default. Sizes are numbers of bytes or the like of `64KiB`, `16MiB`, `2GB`; times are seconds or the like of `250ms`,
`30s`, `10m`, `7d`. An unknown name that starts with `PARSEC_` is an error, as is a value out of range; all errors are
reported together before anything opens. `parsec check-config` shows what holds and where it came from.

What one tenant may send (`PARSEC_LIMIT_...`) may also stand in tables of the file, one for each tenant that differs,
and is read again when the file changes: see [limits per tenant](operations.md#limits-per-tenant).

| environment | flag | default | allowed | meaning |
| --- | --- | --- | --- | --- |
"""

_METRICS_HEAD = """# Metrics

Made by `parsec reference metrics` from [src/parsec/telemetry.py](../src/parsec/telemetry.py); do not edit.

`GET /metrics` gives them in the Prometheus text format, or as OpenMetrics to whoever asks for it by `Accept`.
A histogram has `_bucket`, `_sum` and `_count` series.

| name | kind | unit | labels | meaning |
| --- | --- | --- | --- | --- |
"""


@click.command(hidden=True)
@click.argument("topic", type=click.Choice(["settings", "metrics", "openapi"]))
def reference(topic: str) -> None:
    """Print the reference of all settings or metrics as Markdown, or openapi.yaml."""
    pages = {"settings": settings_page, "metrics": metrics_page, "openapi": openapi_text}
    click.echo(pages[topic](), nl=False)


def openapi_text() -> str:
    """openapi.yaml."""
    # Late: no other command needs it.
    from parsec.web.openapi.document import text

    return text()


def settings_page() -> str:
    """docs/settings.md."""
    rows = (
        _row(f"`{s.env}`", f"`{s.flag}`", _default(s), _allowed(s), s.spec.help + (" Secret." if s.spec.secret else ""))
        for s in catalogue()
    )
    clients = (
        "Clients (`parsec send`, `parsec query`) read `PARSEC_URL`, `PARSEC_API_KEY`, `PARSEC_TENANT`\n"
        "and more: [command-line.md](command-line.md#which-server).\n"
        "`NO_COLOR` turns colours off."
    )
    return _SETTINGS_HEAD + "".join(rows) + f"\n{clients}\n"


def metrics_page() -> str:
    """docs/metrics.md."""
    # Late: the metrics' library is of no use to the other commands.
    from parsec.telemetry import Telemetry

    rows: Iterator[str] = (
        _row(f"`{m.name}`", m.kind, m.unit, ", ".join(f"`{label}`" for label in m.labels), m.help)
        for m in Telemetry().catalogue
    )
    return _METRICS_HEAD + "".join(rows)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _default(setting: Setting) -> str:
    shown = show_quantity(setting.default, setting.spec.unit)
    return f"`{shown}`" if shown else ""


def _allowed(setting: Setting) -> str:
    if get_origin(setting.type) is not None:
        return ", ".join(f"`{name}`" for name in get_args(setting.type))
    if setting.type is bool:
        return "`true`, `false`"
    unit: Unit = setting.spec.unit
    low, high = setting.spec.minimum, setting.spec.maximum
    if low is None or high is None:
        return "text"
    return f"{show_quantity(low, unit)} to {show_quantity(high, unit)}"
