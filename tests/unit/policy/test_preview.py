"""Who would gain and lose what, as the service tells it before anything is saved."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elevation.model import Group, GroupType, ReusableCertificate, RulesPolicy, SettingsPolicy
from epm.policy.v1 import analysis_pb2, policies_pb2
from services.policy.codec.authored import (
    certificate_to_proto,
    rules_policy_to_proto,
    settings_policy_to_proto,
)
from services.policy.model.preview import Comparison, Situation
from tests.builders.analysis import Questions, office, questions, tagged, tools
from tests.builders.elevation import certificate
from tests.builders.rollouts import World
from tests.fakes.policy_delivery import FakeDirectories, assigned, corpus, device, group, rules, settings, stored

RULES, SETTINGS = "ElevationRulesPolicy", "ElevationSettingsPolicy"
DEVELOPERS = group("developers", "alice", "bob", kind=GroupType.USER)


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Questions]:
    async with questions(tmp_path, office()) as made:
        yield made


def draft(*policies: SettingsPolicy | RulesPolicy, groups: tuple[Group, ...] = (), **fields: Any) -> analysis_pb2.Draft:
    types = {
        GroupType.DEVICE: policies_pb2.PENDING_GROUP_TYPE_DEVICE,
        GroupType.USER: policies_pb2.PENDING_GROUP_TYPE_USER,
    }
    return analysis_pb2.Draft(
        settings_policies=[settings_policy_to_proto(each) for each in policies if isinstance(each, SettingsPolicy)],
        rules_policies=[rules_policy_to_proto(each) for each in policies if isinstance(each, RulesPolicy)],
        groups=[
            analysis_pb2.DraftGroup(
                name=each.name, type=types[each.type], members=each.members, filter=each.filter, groups=each.groups
            )
            for each in groups
        ],
        **fields,
    )


def deletion(kind: str, name: str) -> policies_pb2.ObjectRef:
    return policies_pb2.ObjectRef(kind=kind, name=name)


def entries(found: Any) -> list[tuple[str, str, str, str]]:
    """Give each entry as its device, its user, its policy and what happens."""
    word = analysis_pb2.ReachChange.Name
    return [
        (each.device, each.user, each.policy.name, word(each.change).removeprefix("REACH_CHANGE_"))
        for each in found.affected
    ]


def counted(found: Any) -> dict[str, tuple[int, ...]]:
    return {
        each.policy.name: (
            each.devices_gained,
            each.devices_lost,
            each.devices_changed,
            each.users_gained,
            each.users_lost,
        )
        for each in found.counts
    }


async def test_a_policy_for_devices_is_one_entry_a_device_and_counts_the_users_on_it(asked: Questions) -> None:
    found = await asked.call("PreviewAssignments", draft=draft(tools("new")))
    assert entries(found) == [(name, "", "new", "GAINED") for name in ("D1", "D2", "D5")]
    assert counted(found) == {"new": (3, 0, 0, 1, 0)}
    assert (found.devices_affected, found.users_affected, found.next_page_token) == (3, 1, "")
    assert found.affected[0].policy.kind == RULES


async def test_a_policy_for_users_has_an_entry_for_each_who_is_bound_and_one_for_whoever_comes(
    asked: Questions,
) -> None:
    some = await asked.call("PreviewAssignments", draft=draft(tools("new", "developers")))
    assert entries(some) == [("D1", "alice", "new", "GAINED")]
    everybody = await asked.call("PreviewAssignments", draft=draft(tools("new", "all-users")))
    assert entries(everybody) == [
        ("D1", "", "new", "GAINED"),
        ("D1", "alice", "new", "GAINED"),
        ("D2", "", "new", "GAINED"),
        ("D5", "", "new", "GAINED"),
    ]
    assert counted(everybody) == {"new": (3, 0, 0, 1, 0)}


async def test_what_is_deleted_is_lost_and_what_says_something_else_is_changed(asked: Questions) -> None:
    other = replace(tools("tools"), rules=())
    kept = replace(settings("base", enabled=False))
    found = await asked.call("PreviewAssignments", draft=draft(kept, deletions=[deletion(RULES, "tools")]))
    assert counted(found) == {"tools": (0, 3, 0, 0, 1), "base": (0, 0, 3, 0, 0)}
    assert entries(found)[:2] == [("D1", "", "tools", "LOST"), ("D1", "", "base", "CHANGED")]
    changed = await asked.call("PreviewAssignments", draft=draft(other))
    assert counted(changed) == {"tools": (0, 0, 3, 0, 0)}


async def test_a_description_changes_nothing_for_anybody(asked: Questions) -> None:
    found = await asked.call("PreviewAssignments", draft=draft(replace(tools("tools"), description="better said")))
    assert (list(found.counts), list(found.affected), found.devices_affected) == ([], [], 0)


async def test_a_policy_that_users_get_instead_of_devices_is_changed_for_them_and_lost_for_others(
    asked: Questions,
) -> None:
    found = await asked.call("PreviewAssignments", draft=draft(tools("tools", "developers")))
    assert entries(found) == [
        ("D1", "", "tools", "LOST"),
        ("D1", "alice", "tools", "CHANGED"),
        ("D2", "", "tools", "LOST"),
        ("D5", "", "tools", "LOST"),
    ]


async def test_groups_count_as_they_are_drafted(asked: Questions) -> None:
    asked.world.author(stored(tools("tools", "engineers")), stored(tools("other", "kiosks")), stored(settings()))
    emptied = Group("developers", GroupType.USER)
    found = await asked.call("PreviewAssignments", draft=draft(groups=(emptied,)))
    assert entries(found) == [("D1", "alice", "tools", "LOST")]
    filtered = Group("kiosks", GroupType.DEVICE, filter='os = "windows"')
    found = await asked.call("PreviewAssignments", draft=draft(groups=(filtered,)))
    assert entries(found) == [("D1", "", "other", "GAINED")]
    nesting = Group("kiosks", GroupType.DEVICE, ("D5",), groups=("windows",))
    found = await asked.call("PreviewAssignments", draft=draft(groups=(nesting,)))
    assert entries(found) == [("D1", "", "other", "GAINED"), ("D5", "", "other", "GAINED")]
    emptied = Group("kiosks", GroupType.DEVICE)
    found = await asked.call("PreviewAssignments", draft=draft(groups=(emptied,)))
    assert entries(found) == [("D2", "", "other", "LOST")]


async def test_a_group_that_is_deleted_takes_away_what_comes_by_it_and_what_excludes_it(
    asked: Questions,
) -> None:
    kept_away = replace(tools("tools", "all-devices"), assignments=assigned("all-devices", exclude=("kiosks",)))
    asked.world.author(stored(kept_away), stored(tools("other", "kiosks")), stored(settings()))
    found = await asked.call("PreviewAssignments", draft=draft(deletions=[deletion("Group", "kiosks")]))
    assert entries(found) == [
        ("D1", "", "tools", "LOST"),
        ("D2", "", "other", "LOST"),
        ("D5", "", "tools", "LOST"),
    ]
    again = draft(tools("new", "kiosks"), deletions=[deletion("Group", "kiosks"), deletion("Group", "nobody")])
    refusal = await asked.refused("PreviewAssignments", draft=again)
    assert refusal.fields == {
        "draft.rules_policies[0].assignments.include[0].group",
        "draft.deletions[1].name",
    }


async def test_another_certificate_changes_the_policies_whose_rules_name_it(asked: Questions) -> None:
    vendor = ReusableCertificate("vendor", certificate("vendor"))
    asked.world.author(
        stored(rules("signed", certificate="vendor")), stored(tools("tools")), stored(settings()), certificates=[vendor]
    )
    renewed = certificate_to_proto(ReusableCertificate("vendor", certificate("vendor-renewed")))
    found = await asked.call("PreviewAssignments", draft=analysis_pb2.Draft(reusable_certificates=[renewed]))
    assert counted(found) == {"signed": (0, 0, 3, 0, 0)}


async def test_settings_for_everybody_are_lost_with_the_last_settings_of_the_device(asked: Questions) -> None:
    asked.world.author(stored(settings("device", "kiosks")), stored(settings("all", "all-users")))
    gone = draft(deletions=[deletion(SETTINGS, "device")])
    found = await asked.call("PreviewAssignments", draft=gone)
    assert entries(found) == [("D2", "", "all", "LOST"), ("D2", "", "device", "LOST")]


async def test_policies_that_may_not_be_seen_count_without_a_name(asked: Questions) -> None:
    asked.world.author(
        stored(settings()), tagged(tools("secret", "windows"), "emea"), tagged(tools("deep", "windows"), "emea")
    )
    asked.hire("looker", scope_tags=["default"])
    moved = Group("windows", GroupType.DEVICE, filter='os = "linux"')
    found = await asked.call("PreviewAssignments", "looker", draft=draft(groups=(moved,)), page_size=1)
    assert [(each.policy.kind, each.policy.name, each.devices_lost) for each in found.counts] == [(RULES, "", 1)] * 2
    rest = await asked.call(
        "PreviewAssignments", "looker", draft=draft(groups=(moved,)), page_size=1, page_token=found.next_page_token
    )
    assert entries(found) == entries(rest) == [("D1", "", "", "LOST")]
    assert not rest.next_page_token


async def test_only_devices_within_the_scope_are_counted(asked: Questions) -> None:
    asked.hire("looker", scope_tags=["emea"])
    found = await asked.call("PreviewAssignments", "looker", draft=draft(tools("new")))
    assert (entries(found), found.devices_affected) == ([("D2", "", "new", "GAINED")], 1)


async def test_pages_go_on_where_the_last_one_ended_and_count_once(asked: Questions) -> None:
    wanted = draft(tools("new", "all-users"), tools("more"))
    whole = await asked.call("PreviewAssignments", draft=wanted)
    token, seen = "", []
    for number in range(len(whole.affected)):
        page = await asked.call("PreviewAssignments", draft=wanted, page_size=1, page_token=token)
        assert bool(page.counts) is (number == 0)
        assert bool(page.devices_affected) is (number == 0)
        seen += entries(page)
        token = page.next_page_token
    assert (seen, token) == (entries(whole), "")


async def test_a_token_is_good_for_its_draft_alone_and_all_that_is_wrong_is_said_at_once(asked: Questions) -> None:
    page = await asked.call("PreviewAssignments", draft=draft(tools("new")), page_size=1)
    other = draft(tools("new", "nowhere"))
    refused = await asked.refused("PreviewAssignments", draft=other, page_token=page.next_page_token, page_size=-1)
    assert refused.fields == {
        "page_size",
        "page_token",
        "draft.rules_policies[0].assignments.include[0].group",
    }


async def test_without_a_draft_nothing_happens_to_anybody(asked: Questions) -> None:
    found = await asked.call("PreviewAssignments")
    assert (list(found.affected), found.devices_affected) == ([], 0)


def test_devices_that_are_alike_are_compared_once() -> None:
    here = World(FakeDirectories(*(device(f"d{number}", "alice") for number in range(50)), groups=[DEVELOPERS]))
    known = here.directories.directory()
    after = corpus(replace(rules("new"), assignments=assigned("developers")))
    compared = Comparison(Situation(corpus(), known.groups), Situation(after, known.groups))
    found = [compared.seats(each) for each in known.devices.values()]
    assert all(seats is found[0] for seats in found)
    assert [len(changes) for changes in found[0]] == [0, 1]
