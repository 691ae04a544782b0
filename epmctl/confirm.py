"""Ask before something is changed that somebody may miss."""

from collections.abc import Callable
from typing import TypeVar

import click

from epmctl.errors import BadInputError, CommandError

F = TypeVar("F", bound=Callable[..., object])


def yes_option(command: F) -> F:
    """Give a command the option `--yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


def confirm(question: str, *, yes: bool) -> None:
    """Go on if somebody says so; raise CommandError if not, and BadInputError where nobody can answer."""
    if yes:
        return
    try:
        answer = click.confirm(question, err=True)
    except click.Abort:
        raise BadInputError("nobody answered; give --yes to go on without being asked") from None
    if not answer:
        raise CommandError("nothing was changed")
