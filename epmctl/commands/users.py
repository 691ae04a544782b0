"""`epm users`: list the users that the server knows."""

import click

from epmctl.client import logged_in
from epmctl.commands.get import print_objects
from epmctl.grouping import CommandGroup
from epmctl.kinds.registry import each_object, find_kind
from epmctl.output import output_option


@click.group(cls=CommandGroup)
def users() -> None:
    """List the users that the server knows."""


@users.command(name="list")
@output_option
def list_(output: str) -> None:
    """List users by name, with the devices that they are bound to or reported by, and their groups."""
    kind = find_kind("users")
    with logged_in() as client:
        print_objects(kind, each_object(client, kind), output)
