"""Groups of devices and users, as administrators keep them."""

import pytest

from epm.device.v1 import groups_pb2
from tests.builders.device_service import DeviceService
from tests.builders.refusals import refusal_of

Metadata = tuple[tuple[str, str], ...]


def group(name: str = "laptops", *members: str, **values: object) -> groups_pb2.Group:
    given = {"type": groups_pb2.GROUP_TYPE_DEVICE, "members": members, **values}
    return groups_pb2.Group(name=name, **given)  # type: ignore[arg-type]


async def apply(
    service: DeviceService, *groups: groups_pb2.Group, who: Metadata = (), validate_only: bool = False
) -> groups_pb2.ApplyGroupsResponse:
    request = groups_pb2.ApplyGroupsRequest(groups=groups, validate_only=validate_only)
    return await service.groups.ApplyGroups(request, metadata=who or service.owner)


async def get(service: DeviceService, name: str = "laptops", who: Metadata = ()) -> groups_pb2.Group:
    request = groups_pb2.GetGroupRequest(name=name)
    return (await service.groups.GetGroup(request, metadata=who or service.owner)).group


async def names(service: DeviceService, who: Metadata = ()) -> list[str]:
    answer = await service.groups.ListGroups(groups_pb2.ListGroupsRequest(), metadata=who or service.owner)
    return [found.name for found in answer.groups]


async def test_groups_are_kept_as_given(service: DeviceService) -> None:
    finance = group("finance", filter='tag = "finance"', description="all of finance", scope_tags=["emea"])
    people = group("developers", "bob", "alice", type=groups_pb2.GROUP_TYPE_USER)
    await apply(service, finance, people)
    shown = await get(service, "finance")
    finance.etag = shown.etag
    assert shown == finance
    kept = await get(service, "developers")
    assert (list(kept.members), kept.type, list(kept.scope_tags)) == (
        ["alice", "bob"],
        groups_pb2.GROUP_TYPE_USER,
        ["default"],
    )


async def test_an_apply_tells_what_became_of_each_group_and_the_revision(service: DeviceService) -> None:
    first = await apply(service, group("a"), group("b"))
    second = await apply(service, group("b", "ws-1"), group("a"), group("c"))
    assert [(done.name, done.action) for done in second.groups] == [
        ("b", groups_pb2.APPLY_ACTION_UPDATED),
        ("a", groups_pb2.APPLY_ACTION_UNCHANGED),
        ("c", groups_pb2.APPLY_ACTION_CREATED),
    ]
    assert second.directory_revision > first.directory_revision > 0


async def test_the_same_apply_twice_changes_nothing(service: DeviceService) -> None:
    first = await apply(service, group("a", "ws-1"))
    again = await apply(service, group("a", "ws-1"))
    assert again.directory_revision == first.directory_revision
    assert [done.action for done in again.groups] == [groups_pb2.APPLY_ACTION_UNCHANGED]


async def test_validate_only_changes_nothing(service: DeviceService) -> None:
    answer = await apply(service, group("a"), validate_only=True)
    assert [done.action for done in answer.groups] == [groups_pb2.APPLY_ACTION_CREATED]
    assert await names(service) == []


async def test_one_bad_group_keeps_all_out_and_every_problem_is_told(service: DeviceService) -> None:
    untyped = group("b", type=groups_pb2.GROUP_TYPE_UNSPECIFIED)
    refusal = await refusal_of(apply(service, group("a"), untyped, group("all-devices"), group("a", "x", "x")))
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.fields == {"groups[1].type", "groups[2].name", "groups[3].name", "groups[3].members"}
    assert await names(service) == []


async def test_a_type_that_nobody_knows_is_refused(service: DeviceService) -> None:
    refusal = await refusal_of(apply(service, group("a", type=99)))
    assert refusal.fields == {"groups[0].type"}


async def test_names_and_texts_that_pass_for_others_are_refused(service: DeviceService) -> None:
    twin, hidden = group("p\u0430ypal"), group("a", description="a\u202eb")
    member = group("b", "p\u0430ypal")
    refusal = await refusal_of(apply(service, twin, hidden, member))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"groups[0].name", "groups[1].description"})


async def test_a_name_that_looks_like_one_that_is_there_is_refused(service: DeviceService) -> None:
    await apply(service, group("COP"))
    refusal = await refusal_of(apply(service, group("COP"), group("\u0421\u041e\u0420")))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"groups[1].name"})


async def test_the_type_of_a_group_cannot_be_changed(service: DeviceService) -> None:
    await apply(service, group("a"))
    refusal = await refusal_of(apply(service, group("a", type=groups_pb2.GROUP_TYPE_USER)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "GROUP_TYPE_FIXED")


async def test_more_groups_than_one_call_may_bring_are_refused(service: DeviceService) -> None:
    refusal = await refusal_of(apply(service, *(group(f"g{number}") for number in range(1001))))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"groups"})


@pytest.mark.parametrize(
    ("rights", "may_create", "may_update"),
    [
        (("groups.create",), True, False),
        (("groups.update",), False, True),
        (("groups.create", "groups.update"), True, True),
        (("groups.read", "groups.delete"), False, False),
    ],
)
async def test_creating_and_updating_need_each_its_right(
    service: DeviceService, *, rights: tuple[str, ...], may_create: bool, may_update: bool
) -> None:
    await apply(service, group("old"))
    who = service.may(*rights)
    for wanted, allowed in ((group("new"), may_create), (group("old", "ws-1"), may_update)):
        if allowed:
            assert (await apply(service, wanted, who=who)).groups[0].name == wanted.name
        else:
            refusal = await refusal_of(apply(service, wanted, who=who))
            assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING")


async def test_who_may_not_apply_learns_nothing_of_the_input(service: DeviceService) -> None:
    refusal = await refusal_of(apply(service, group(""), who=service.may("groups.read")))
    assert (refusal.code, refusal.problems) == ("PERMISSION_DENIED", {})


async def test_a_call_without_a_token_is_refused(service: DeviceService) -> None:
    for call in (
        service.groups.ApplyGroups(groups_pb2.ApplyGroupsRequest()),
        service.groups.GetGroup(groups_pb2.GetGroupRequest(name="a")),
        service.groups.ListGroups(groups_pb2.ListGroupsRequest()),
        service.groups.DeleteGroup(groups_pb2.DeleteGroupRequest(name="a")),
    ):
        assert (await refusal_of(call)).reason == "TOKEN_MISSING"


async def test_reading_and_deleting_need_each_its_right(service: DeviceService) -> None:
    await apply(service, group("a"))
    reader, deleter = service.may("groups.read"), service.may("groups.delete")
    deletion = groups_pb2.DeleteGroupRequest(name="a")
    assert (await refusal_of(get(service, "a", deleter))).reason == "RIGHT_MISSING"
    assert (await refusal_of(names(service, deleter))).reason == "RIGHT_MISSING"
    assert (await refusal_of(service.groups.DeleteGroup(deletion, metadata=reader))).reason == "RIGHT_MISSING"
    assert await names(service, reader) == ["a"]


async def test_a_deleted_group_is_gone_and_its_name_free(service: DeviceService) -> None:
    before = await apply(service, group("a", "ws-1"))
    deletion = groups_pb2.DeleteGroupRequest(name="a")
    answer = await service.groups.DeleteGroup(deletion, metadata=service.owner)
    assert answer.directory_revision > before.directory_revision
    assert (await refusal_of(get(service, "a"))).code == "NOT_FOUND"
    assert (await refusal_of(service.groups.DeleteGroup(deletion, metadata=service.owner))).code == "NOT_FOUND"
    assert await names(service) == []
    again = await apply(service, group("a", type=groups_pb2.GROUP_TYPE_USER))
    assert [done.action for done in again.groups] == [groups_pb2.APPLY_ACTION_CREATED]


async def test_a_group_out_of_scope_looks_like_one_that_is_not_there(service: DeviceService) -> None:
    await apply(service, group("a", scope_tags=["apac"]), group("b", scope_tags=["emea"]))
    emea = service.may("groups.read", "groups.delete", tags=("emea",))
    hidden, absent = await refusal_of(get(service, "a", emea)), await refusal_of(get(service, "z", emea))
    assert hidden == absent
    deletion = groups_pb2.DeleteGroupRequest(name="a")
    assert (await refusal_of(service.groups.DeleteGroup(deletion, metadata=emea))).code == "NOT_FOUND"
    assert await names(service, emea) == ["b"]


async def test_a_new_group_inherits_its_creators_tags(service: DeviceService) -> None:
    await apply(service, group("a"), who=service.may("groups.create", tags=("emea",)))
    assert list((await get(service, "a")).scope_tags) == ["emea"]


async def test_groups_are_listed_by_name_in_pages(service: DeviceService) -> None:
    await apply(service, group("c"), group("a"), group("b"))
    request = groups_pb2.ListGroupsRequest(page_size=2)
    first = await service.groups.ListGroups(request, metadata=service.owner)
    request.page_token = first.next_page_token
    second = await service.groups.ListGroups(request, metadata=service.owner)
    assert [[found.name for found in page.groups] for page in (first, second)] == [["a", "b"], ["c"]]
    assert second.next_page_token == ""


async def test_groups_that_are_too_large_for_one_message_come_in_smaller_pages(service: DeviceService) -> None:
    members = [f"{'x' * 60}-{number:04}" for number in range(8000)]
    for name in ("a", "b", "c", "d", "e", "f", "g", "h"):
        await apply(service, group(name, *members))
    found, request = list[str](), groups_pb2.ListGroupsRequest()
    while not found or request.page_token:
        page = await service.groups.ListGroups(request, metadata=service.owner)
        found += [one.name for one in page.groups]
        request.page_token = page.next_page_token
    assert found == ["a", "b", "c", "d", "e", "f", "g", "h"]


async def test_an_input_with_very_many_problems_is_refused_legibly(service: DeviceService) -> None:
    refusal = await refusal_of(apply(service, *(group(f" {number} ") for number in range(1000))))
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.problems["groups[0].name"] == "begins or ends with a blank; remove it"
    assert "more problems" in refusal.problems[""]


async def test_who_may_change_groups_does_not_widen_what_others_may_target(service: DeviceService) -> None:
    await apply(service, group("kiosks", "k-1"))
    service.access.grant("user:author", ["policy_authoring.assign"], scope_groups=["kiosks"])
    keeper = service.may("groups.create", "groups.update")
    refusal = await refusal_of(apply(service, group("kiosks", "k-1", "ws-1"), who=keeper))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "GRANT_EXCEEDS_OWN_RIGHTS")
    await apply(service, group("kiosks", "k-1", "ws-1"))
    assert list((await get(service, "kiosks")).members) == ["k-1", "ws-1"]
