"""How the commands of `epm-sim` end."""

from typing import NoReturn

import click

DONE, FAILED, BAD_INPUT = 0, 1, 2


def fail(code: int, *messages: str) -> NoReturn:
    """Say what is wrong, and end."""
    for message in messages:
        click.echo(f"epm-sim: {message}", err=True)
    raise SystemExit(code)
