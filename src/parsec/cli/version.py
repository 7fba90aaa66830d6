"""`parsec version`."""

import platform

import click

from parsec import __version__


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"parsec {__version__} (Python {platform.python_version()}, {platform.system()} {platform.machine()})")
