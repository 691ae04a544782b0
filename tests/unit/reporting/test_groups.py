"""Who is in which group today, as reports narrow by it."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation.model import Attributes, Group, GroupType
from services._chassis.errors import UnavailableError
from services.reporting.model.devices import Device, Directory, KnownGroup
from services.reporting.model.groups import NO_GROUPS, DirectoryMemberships
from tests.builders.nesting import NAMES, attributes, described, has_device, has_user, nested_groups

LAB = Group("lab", GroupType.DEVICE, ("ws-1",))
LINUX = Group("linux", GroupType.DEVICE, filter='os = "linux"')
FLEET = Group("fleet", GroupType.DEVICE, ("ws-3",), groups=("lab", "linux"))
PEOPLE = Group("people", GroupType.USER, ("alice",))
COMPANY = Group("company", GroupType.USER, ("zoe",), groups=("people",))
BROKEN = Group("broken", GroupType.DEVICE, filter="os = = ")
LOST = Group("lost", GroupType.DEVICE, ("ws-1",), groups=("linux", "nothing"))


def device(number: int, facts: Attributes, **values: Any) -> Device:
    return Device(f"d{number}", str(facts["name"]), **{"enrolled": True, **values}, attributes=facts)


def directory(groups: Iterable[Group], devices: Iterable[Device] = (), *tags: str) -> Directory:
    known = Directory()
    known.replace(
        {one.device_id: one for one in devices}, {group.name: KnownGroup(group, frozenset(tags)) for group in groups}
    )
    return known


def standing(os: str = "linux") -> list[Device]:
    return [
        device(1, attributes("ws-1", "windows")),
        device(2, attributes("ws-2", os)),
        device(3, attributes("ws-3", "windows")),
        device(4, attributes("ws-4", "windows")),
    ]


@given(nested_groups(), st.lists(described, max_size=6), st.data())
def test_members_are_those_who_would_be_in_the_groups_if_nested_ones_were_written_out(
    groups: Mapping[str, Group], facts: list[Attributes], data: st.DataObject
) -> None:
    asked = tuple(sorted(data.draw(st.sets(st.sampled_from([*groups, "nobody-knows"])))))
    members = DirectoryMemberships(directory(groups.values(), (device(n, one) for n, one in enumerate(facts))))
    known = [name for name in asked if name in groups]
    assert members.devices(asked) == {
        f"d{n}" for n, one in enumerate(facts) if any(has_device(groups, name, one) for name in known)
    }
    assert set(members.users(asked) or ()) == {
        user for user in NAMES if any(has_user(groups, name, user) for name in known)
    }
    for kind in GroupType:
        unknown = {name for name in asked if name not in groups or groups[name].type is not kind}
        assert set(members.unknown(kind, asked, None)) == unknown


def test_membership_follows_the_directory() -> None:
    known = directory([FLEET, LAB, LINUX, PEOPLE, COMPANY], standing())
    members = DirectoryMemberships(known)
    assert members.devices(("fleet",)) == {"d1", "d2", "d3"}
    assert members.users(("company",)) == {"alice", "zoe"}
    known.update({"d4": device(4, attributes("ws-4", "linux"))}, {})
    assert members.devices(("fleet",)) == {"d1", "d2", "d3", "d4"}
    known.bury(["d2"])
    assert members.devices(("linux",)) == {"d4"}
    known.update({}, {"lab": KnownGroup(Group("lab", GroupType.DEVICE, ("ws-3",)))})
    assert members.devices(("lab", "linux")) == {"d3", "d4"}
    known.update({}, {"people": None})
    assert members.users(("people",)) == frozenset()
    assert members.unknown(GroupType.USER, ("company", "people"), None) == ["company", "people"]


def test_a_filter_finds_enrolled_devices_alone() -> None:
    away = device(5, attributes("ws-5", "linux"), enrolled=False)
    listed = Group("lab", GroupType.DEVICE, ("ws-5",))
    members = DirectoryMemberships(directory([LINUX, listed], [*standing(), away]))
    assert members.devices(("linux",)) == {"d2"}
    assert members.devices(("lab",)) == {"d5"}


def test_all_devices_and_all_users_narrow_nothing() -> None:
    for members in (DirectoryMemberships(directory([LAB, PEOPLE])), DirectoryMemberships(Directory()), NO_GROUPS):
        assert members.devices(("all-devices", "lab")) is None
        assert members.users(("all-users",)) is None
        assert members.unknown(GroupType.DEVICE, ("all-devices",), frozenset()) == []
        assert members.unknown(GroupType.USER, ("all-users",), frozenset()) == []


def test_a_group_of_which_nobody_can_tell_who_is_in_it_is_unknown_and_has_no_members() -> None:
    members = DirectoryMemberships(directory([BROKEN, LOST, LINUX, PEOPLE], standing()))
    for name in ("broken", "lost", "people", "all-users"):
        assert members.unknown(GroupType.DEVICE, (name,), None) == [name]
        assert members.devices((name,)) == frozenset()


def test_a_group_that_one_does_not_see_is_as_unknown_as_one_that_is_not_there() -> None:
    members = DirectoryMemberships(directory([LAB], standing(), "emea"))
    assert members.unknown(GroupType.DEVICE, ("lab", "nothing"), frozenset({"apac"})) == ["lab", "nothing"]
    assert members.unknown(GroupType.DEVICE, ("lab", "nothing"), frozenset({"emea", "apac"})) == ["nothing"]
    untagged = DirectoryMemberships(directory([LAB], standing()))
    assert untagged.unknown(GroupType.DEVICE, ("lab",), frozenset({"default"})) == []
    assert untagged.unknown(GroupType.DEVICE, ("lab",), frozenset({"emea"})) == ["lab"]


def test_whether_a_group_is_there_is_told_without_a_look_at_its_members() -> None:
    class Unread(tuple[str, ...]):
        __slots__ = ()

        def __iter__(self) -> Any:
            raise AssertionError("the members were looked at")

    people = Group("people", GroupType.USER, Unread(("alice",)))
    members = DirectoryMemberships(directory([people, COMPANY]))
    assert members.unknown(GroupType.USER, ("company", "people", "nothing"), None) == ["nothing"]


def test_answers_are_kept_until_they_have_too_many_members() -> None:
    pair, known = Group("pair", GroupType.USER, ("alice", "bob")), directory([PEOPLE])
    kept = DirectoryMemberships(known)
    assert kept.users(("people",)) is kept.users(("people",))
    few = DirectoryMemberships(directory([PEOPLE, pair]), most_members=2)
    first = few.users(("people",))
    assert few.users(("pair",))
    assert few.users(("people",)) is not first
    assert few.users(("people",)) == first


def test_nobody_can_tell_which_groups_there_are_before_the_directory_was_told() -> None:
    with pytest.raises(UnavailableError) as refused:
        DirectoryMemberships(Directory()).unknown(GroupType.DEVICE, ("lab",), None)
    assert refused.value.reason == "DIRECTORY_NOT_KNOWN_YET"


def test_without_a_directory_no_group_is_known() -> None:
    assert NO_GROUPS.unknown(GroupType.DEVICE, ("lab", "all-devices"), None) == ["lab"]
    assert NO_GROUPS.devices(("lab",)) == ()
    assert NO_GROUPS.users(("people",)) == ()
