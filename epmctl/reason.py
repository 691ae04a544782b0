"""The reason that stands in the audit record of what a command changes."""

from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

import click

LONGEST: Final = 256
"""Characters that a server takes."""

_KEY: Final = "epm-reason-bin"

Metadata: TypeAlias = tuple[tuple[str, bytes], ...]
"""Metadata of a call, by key."""

F = TypeVar("F", bound=Callable[..., object])


def reason_option(command: F) -> F:
    """Give a command the option `--reason TEXT`."""
    said = "Why, for the audit record; a ticket, for example."
    return click.option("--reason", default="", callback=check_reason, metavar="TEXT", help=said)(command)


def as_metadata(reason: str) -> Metadata:
    """Return the metadata that carries the reason; none for an empty one."""
    return ((_KEY, reason.encode()),) if reason else ()


def check_reason(_context: click.Context, _option: click.Parameter, reason: str) -> str:
    """Read the value of an option that gives a reason."""
    if len(reason) > LONGEST or not reason.isprintable():
        raise click.BadParameter(f"must be at most {LONGEST} printable characters, in one line")
    return reason
