"""Lists of which so many entries are shown, and whether there are more of them."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import click

DEFAULT_LIMIT: Final = 100

Entry = TypeVar("Entry")
F = TypeVar("F", bound=Callable[..., object])


def limit_option(command: F) -> F:
    """Give a command the option `--limit N`."""
    option = click.option(
        "--limit", type=click.IntRange(0), default=DEFAULT_LIMIT, show_default=True, help="How many; 0 for all."
    )
    return option(command)


def to_ask(limit: int) -> int | None:
    """Give how many to ask for: one more than are shown tells whether there are more; None for all."""
    return limit + 1 if limit else None


def within(found: Sequence[Entry], limit: int) -> Sequence[Entry]:
    """Give those of the entries that are shown."""
    return found[:limit] if limit else found


def say_if_more(found: Sequence[object], limit: int) -> None:
    """Say that there are more entries than are shown, if there are."""
    if len(found) > len(within(found, limit)):
        click.echo(f"there are more than {limit}; --limit 0 shows all of them", err=True)
