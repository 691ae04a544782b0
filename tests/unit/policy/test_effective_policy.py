"""What applies to a device or a user on it, and why, as the service tells it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from elevation.model import DefaultResponse, SettingsPolicy
from epm.policy.v1 import analysis_pb2
from services.policy.codec.authored import settings_policy_to_proto
from tests.builders.analysis import Questions, named, office, questions, tools
from tests.fakes.policy_delivery import assigned, settings, stored

UNMATCHED = 'D1 does not match the filter os = "linux"'


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Questions]:
    async with questions(tmp_path, office()) as made:
        yield made


async def test_what_applies_is_told_with_its_reasons(asked: Questions) -> None:
    asked.world.author(
        stored(settings("base")),
        stored(tools("direct", "developers"), 4),
        stored(tools("nested", "engineers")),
        stored(tools("filtered", where='os = "windows"')),
        stored(tools("left-out", where='os = "linux"')),
        stored(tools("excluded", "all-devices", exclude=("windows",))),
        stored(tools("elsewhere", "kiosks")),
        stored(replace(tools("nobodys"), assignments=assigned())),
    )
    found = await asked.call("GetEffectivePolicy", device="D1", user="alice", with_others=True)
    assert (found.device_id, found.device_name) == ("d1", "D1")
    assert list(found.device_groups) == ["all-devices", "windows"]
    assert list(found.user_groups) == ["all-users", "developers", "engineers"]
    told = {reach.policy.name: (reach.applies, [reason.text for reason in reach.reasons]) for reach in found.policies}
    assert told == {
        "base": (True, ['D1 is in the group "all-devices", which "base" includes']),
        "direct": (True, ['alice is in the group "developers", which "direct" includes']),
        "filtered": (
            True,
            ['D1 is in the group "all-devices", which "filtered" includes, and D1 matches the filter os = "windows"'],
        ),
        "nested": (
            True,
            ['alice is in the group "developers", which is in the group "engineers" and which "nested" includes'],
        ),
        "elsewhere": (False, ['D1 is not in the group "kiosks", which "elsewhere" includes']),
        "excluded": (False, ['D1 is in the group "windows", which "excluded" excludes']),
        "left-out": (
            False,
            ['D1 is in the group "all-devices", which "left-out" includes, but ' + UNMATCHED],
        ),
        "nobodys": (False, ["it includes no group"]),
    }
    order = [reach.policy.name for reach in found.policies]
    assert order == ["base", "direct", "filtered", "nested", "elsewhere", "excluded", "left-out", "nobodys"]
    direct = found.policies[1]
    assert (direct.policy.kind, direct.revision, direct.user_targeted) == ("ElevationRulesPolicy", 4, True)
    assert found.policies[3].reasons[0].through == "developers"
    applying = await asked.call("GetEffectivePolicy", device="D1", user="alice")
    assert list(applying.policies) == list(found.policies[:4])


async def test_whoever_comes_gets_what_is_for_everybody(asked: Questions) -> None:
    asked.world.author(
        stored(settings("base")), stored(tools("tools", "developers")), stored(tools("all", "all-users"))
    )
    found = await asked.call("GetEffectivePolicy", device="d1", with_others=True)
    assert list(found.user_groups) == ["all-users"]
    texts = {reach.policy.name: reach.reasons[0].text for reach in found.policies}
    assert texts["all"] == 'whoever comes to D1 is in the group "all-users", which "all" includes'
    assert texts["tools"] == 'whoever comes to D1 is not in the group "developers", which "tools" includes'
    bob = await asked.call("GetEffectivePolicy", device="d1", user="bob", with_others=True)
    assert bob.policies[1].reasons[0].text.startswith("bob, who is not bound to D1, is in the group")


async def test_settings_for_everybody_do_nothing_where_nobody_has_any(asked: Questions) -> None:
    asked.world.author(stored(settings("base", "all-users")))
    bound = await asked.call("GetEffectivePolicy", device="d1", with_others=True)
    alone = await asked.call("GetEffectivePolicy", device="d2", with_others=True)
    assert (bound.policies[0].applies, bound.settings.HasField("settings")) == (True, True)
    assert (alone.policies[0].applies, alone.settings.HasField("settings")) == (False, False)
    assert "so nothing is active there" in alone.policies[0].reasons[0].text


@pytest.mark.parametrize(("named_so", "because"), [("d3", "has no credentials"), ("d4", "is quarantined")])
async def test_nothing_applies_where_it_is_withheld(asked: Questions, named_so: str, because: str) -> None:
    found = await asked.call("GetEffectivePolicy", device=named_so, with_others=True)
    assert because in found.withheld_because
    assert (list(found.policies), found.settings.HasField("settings")) == ([], False)


async def test_a_draft_shows_in_what_applies(asked: Questions) -> None:
    stricter = SettingsPolicy("stricter", default_response=DefaultResponse.DENY, assignments=assigned("all-devices"))
    draft = analysis_pb2.Draft(settings_policies=[settings_policy_to_proto(stricter)])
    found = await asked.call("GetEffectivePolicy", device="d1", draft=draft)
    assert [(reach.policy.name, reach.revision) for reach in found.policies] == [
        ("base", 1),
        ("stricter", 0),
        ("tools", 1),
    ]
    assert named(found.settings.origins, "defaultResponse") == ("DENY", ["stricter"], True)
