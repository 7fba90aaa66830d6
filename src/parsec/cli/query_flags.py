"""The flags of a command that queries, made from the declared parameters of an endpoint.

In: an Endpoint of parsec.api.parameters. Out: flags with their types, ranges, defaults and help, whose values a command
passes on to the client by keyword. Errors: exit 2 for wrong use. Next: parsec.cli.client_flags.
"""

from collections.abc import Callable, Collection
from typing import Any

import click

from parsec.api.endpoint import Endpoint, Parameter
from parsec.cli.client_flags import Command, profile

_CLIENTS_OWN = ("cursor", "format")
"""The client follows cursors, and reads JSON only."""


def query_flags(
    endpoint: Endpoint[Any, Any], *, pages: bool = False, without: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Adds EXPRESSION for `q`, and a flag for each other parameter. `pages`: --limit counts over all pages."""

    def add(command: Command) -> Command:
        for parameter in reversed(endpoint.parameters):
            if parameter.spec.in_path or parameter.keyword in (*without, *_CLIENTS_OWN):
                continue
            if parameter.keyword == "q":
                command = click.argument("q", metavar="[EXPRESSION]", required=False)(command)
            elif parameter.keyword == "limit" and pages:
                command = click.option(
                    "--limit",
                    type=click.IntRange(min=1),
                    default=100,
                    show_default=True,
                    help="Maximum number of events to print.",
                )(command)
            else:
                command = _option(parameter)(command)
        return command

    return add


def _option(parameter: Parameter) -> Callable[[Command], Command]:
    spec = parameter.spec
    text, more = spec.help.replace("`", ""), dict[str, Any]()
    if parameter.keyword == "tenant":
        text += " [PARSEC_TENANT]"
        more = {"envvar": "PARSEC_TENANT", "default": lambda: profile().tenant}
    elif spec.commas:
        more = {"callback": lambda _ctx, _parameter, text: split_names(text)}
    elif parameter.is_list:
        more = {"multiple": True, "default": parameter.default}
    elif parameter.default is not None:
        more = {"default": parameter.default, "show_default": True}
    elif spec.default is not None:
        text += f" [default: {spec.default}]"
    if parameter.kind == "integer":
        more["type"] = click.IntRange(spec.minimum, spec.maximum)
    elif parameter.kind == "choice":
        more["type"] = click.Choice(parameter.choices)
    flag = f"--{parameter.name.replace('_', '-')}"
    return click.option(flag, parameter.keyword, help=text, **more)


def split_names(text: str | None) -> tuple[str, ...]:
    """The names in a list with commas."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())
