"""`epm groups`: tell who is in a group."""

from collections.abc import Iterator, Sequence
from typing import Final, cast

import click

from epm.device.v1 import groups_pb2, groups_pb2_grpc
from epmctl.client import CallError, Client, logged_in
from epmctl.errors import CommandError
from epmctl.grouping import CommandGroup
from epmctl.kinds.model import at
from epmctl.output import Plain, Record, output_option, print_json, print_table
from epmctl.plain import to_plain

_WAYS: Final = {"LISTED": "name", "FOUND": "filter"}
_PAGE: Final = 1000


def _way(member: Record) -> Plain:
    """Say by what somebody is in the group; a nested group is named."""
    if member["byGroup"]:
        return f"group {member['byGroup']}"
    return _WAYS.get(cast("str", member["kind"]), member["kind"])


_COLUMNS: Final = {"NAME": at("name"), "BY": _way, "DEVICE ID": at("deviceId")}


@click.group(cls=CommandGroup)
def groups() -> None:
    """Tell who is in a group."""


@groups.command()
@click.argument("name")
@output_option
def members(name: str, output: str) -> None:
    """List who is in the group NAME now: listed, found by its filter, or in a group that it nests."""
    with logged_in() as client:
        try:
            found = list(_members(client, name))
        except CallError as error:
            absent = CommandError(f"there is no group {name!r}; epm get groups lists those there are")
            raise absent if error.absent else error from None
    if output == "json":
        print_json(found)
    else:
        print_table(list(_COLUMNS), [[column(member) for column in _COLUMNS.values()] for member in found])


def _members(client: Client, name: str) -> Iterator[Record]:
    stub = groups_pb2_grpc.GroupServiceStub(client.channel)

    def fetch(size: int, token: str) -> tuple[Sequence[Record], str]:
        request = groups_pb2.ListGroupMembersRequest(name=name, page_size=min(size, _PAGE), page_token=token)
        page = to_plain(client.call(stub.ListGroupMembers, request))
        return cast("Sequence[Record]", page["members"]), cast("str", page["nextPageToken"])

    return client.pages(fetch, limit=None)
