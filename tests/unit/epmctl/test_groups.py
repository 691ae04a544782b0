"""`epm groups members`, `epm users list`, and groups in groups as documents."""

from pathlib import Path

import yaml

from epm.device.v1 import devices_pb2, groups_pb2
from epmctl.documents.load import load
from epmctl.documents.wire import to_requests
from services._chassis.errors import NotFoundError
from tests.builders.console import Console
from tests.fakes.server import FakeServer

COMPANY = groups_pb2.Group(
    name="company", type=groups_pb2.GROUP_TYPE_USER, members=["zoe"], groups=["sales", "staff"], scope_tags=["default"]
)
DOCUMENT = """
apiVersion: openepm/v1
kind: Group
metadata: {name: company, scopeTags: [default]}
spec: {type: USER, members: [zoe], groups: [sales, staff]}
"""
LISTED, FOUND, NESTED = (
    groups_pb2.MEMBERSHIP_KIND_LISTED,
    groups_pb2.MEMBERSHIP_KIND_FOUND,
    groups_pb2.MEMBERSHIP_KIND_NESTED,
)


def pages(request: groups_pb2.ListGroupMembersRequest) -> groups_pb2.ListGroupMembersResponse:
    """Give two pages of members with an empty one between them, as a filter that finds few makes them."""
    assert (request.name, request.page_size) == ("laptops", 1000)
    first = [
        groups_pb2.GroupMember(name="ws-1", device_id="d1", kind=FOUND),
        groups_pb2.GroupMember(name="ws-2", kind=LISTED),
    ]
    last = [groups_pb2.GroupMember(name="ws-3", device_id="d3", kind=NESTED, by_group="lab")]
    return {
        "": groups_pb2.ListGroupMembersResponse(members=first, next_page_token="a"),
        "a": groups_pb2.ListGroupMembersResponse(next_page_token="b"),
        "b": groups_pb2.ListGroupMembersResponse(members=last),
    }[request.page_token]


def test_the_members_of_a_group_are_listed_with_why_they_are_in(console: Console, server: FakeServer) -> None:
    server.on(groups_pb2.ListGroupMembersRequest, pages)

    outcome = console.run("groups", "members", "laptops")

    assert [line.split() for line in outcome.out.splitlines()] == [
        ["NAME", "BY", "DEVICE", "ID"],
        ["ws-1", "filter", "d1"],
        ["ws-2", "name", "-"],
        ["ws-3", "group", "lab", "d3"],
    ]


def test_members_in_json_are_one_list(console: Console, server: FakeServer) -> None:
    server.on(groups_pb2.ListGroupMembersRequest, pages)

    members = console.run("groups", "members", "laptops", "--output", "json").json

    assert members[2] == {"name": "ws-3", "deviceId": "d3", "kind": "NESTED", "byGroup": "lab"}
    assert [member["name"] for member in members] == ["ws-1", "ws-2", "ws-3"]


def test_a_group_that_is_not_there_is_told_in_one_line(console: Console, server: FakeServer) -> None:
    server.on(groups_pb2.ListGroupMembersRequest, NotFoundError("there is no such group"))

    outcome = console.run("groups", "members", "nobody")

    assert (outcome.code, outcome.err) == (1, "there is no group 'nobody'; epm get groups lists those there are\n")


def test_users_are_listed_with_what_names_them(console: Console, server: FakeServer) -> None:
    alice = devices_pb2.KnownUser(name="alice", bound_devices=["ws-1", "ws-2"], reported_devices=["ws-1"])
    bob = devices_pb2.KnownUser(name="bob", groups=["company", "staff"])
    server.on(devices_pb2.ListUsersRequest, devices_pb2.ListUsersResponse(users=[alice, bob]))

    table, json = console.run("users", "list"), console.run("users", "list", "--output", "json").json

    assert [line.split("  ") for line in table.out.splitlines()][1][0] == "alice"
    assert table.out.splitlines()[2].split() == ["bob", "-", "-", "company,", "staff"]
    assert json[0] == {"name": "alice", "boundDevices": ["ws-1", "ws-2"], "reportedDevices": ["ws-1"], "groups": []}


def test_a_document_says_which_groups_a_group_nests(tmp_path: Path) -> None:
    path = tmp_path / "groups.yaml"
    path.write_text(DOCUMENT, encoding="utf-8")

    (sent,) = to_requests(load([str(path)], closed=False).documents).groups.groups

    assert sent == COMPANY


def test_a_group_with_groups_is_shown_as_its_document(console: Console, server: FakeServer) -> None:
    server.on(groups_pb2.GetGroupRequest, groups_pb2.GetGroupResponse(group=COMPANY))
    server.on(groups_pb2.ListGroupsRequest, groups_pb2.ListGroupsResponse(groups=[COMPANY]))

    shown, listed = console.run("get", "group", "company"), console.run("get", "groups")

    assert yaml.safe_load(shown.out) == yaml.safe_load(DOCUMENT)
    assert listed.out.splitlines()[1].split() == ["company", "USER", "default", "zoe,", "[sales],", "[staff]"]
