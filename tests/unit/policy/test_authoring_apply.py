"""Many objects at once: all or none, each under the rights that it takes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from elevation.model import GroupType, ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.errors import DeniedError, InvalidError, Problem, UnavailableError
from services.policy.model.application import PendingGroup
from services.policy.model.objects import Action, AnyContent
from services.policy.usecases.scope import ASSIGN, CREATE, READ, UPDATE
from tests.builders.applying import actions, applied
from tests.builders.authoring import desk
from tests.builders.policy import included, reusable, rule, rules_policy, settings_policy
from tests.fakes.clock import NOW


def fields(problems: Sequence[Problem]) -> list[str]:
    return [problem.field for problem in problems]


SET: tuple[AnyContent, ...] = (
    reusable(),
    settings_policy(assignments=included("laptops", excluding=["kiosks"])),
    rules_policy("tools", rule(reusable="vendor"), assignments=included("developers")),
)


async def test_all_objects_are_made_under_one_revision() -> None:
    at = desk()
    outcome = await applied(at, *SET)
    assert actions(outcome) == [(content.name, Action.CREATED) for content in SET]
    assert outcome.revision == 1
    for content in SET:
        kept = await at.read(type(content), content.name)
        assert (kept.content, kept.about.revision, kept.about.scope_tags) == (content, 1, frozenset({"default"}))


async def test_the_same_again_changes_nothing() -> None:
    at = desk()
    await applied(at, *SET)
    again = await applied(at, *SET)
    assert actions(again) == [(content.name, Action.UNCHANGED) for content in SET]
    assert (again.revision, len(at.store.changes)) == (1, len(SET))


async def test_the_same_again_changes_nothing_for_a_creator_with_tags() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    await applied(at, *SET, by="emil")
    assert {action for _, action in actions(await applied(at, *SET, by="emil"))} == {Action.UNCHANGED}
    assert (await at.read(SettingsPolicy, "workstations")).about.scope_tags == {"emea"}


async def test_what_differs_is_replaced_and_the_rest_is_left() -> None:
    at = desk()
    await applied(at, *SET)
    moved = rules_policy("tools", rule(reusable="vendor"), assignments=included("all-users"))
    outcome = await applied(at, SET[0], settings_policy(enabled=False), moved, settings_policy("new"))
    assert actions(outcome) == [
        ("vendor", Action.UNCHANGED),
        ("workstations", Action.UPDATED),
        ("tools", Action.UPDATED),
        ("new", Action.CREATED),
    ]
    assert [change.action for change in at.store.changes[3:]] == [Action.UPDATED, Action.ASSIGNED, Action.CREATED]
    assert (await at.read(ReusableCertificate, "vendor")).about.etag == "1"
    assert (await at.read(RulesPolicy, "tools")).content == moved


async def test_one_problem_keeps_everything_out_and_all_are_said() -> None:
    at = desk()
    with pytest.raises(InvalidError) as refused:
        await applied(
            at,
            settings_policy("fine"),
            settings_policy("stale", stale_after=timedelta(0)),
            rules_policy("tools", rule(reusable="nobody"), assignments=included("nowhere")),
        )
    assert fields(refused.value.problems) == [
        "settings_policies[1].settings.stale_after",
        "rules_policies[2].assignments.include[0].group",
        "rules_policies[2].rules[0].detection.certificate.reusable",
    ]
    assert (at.store.kept_revision, at.store.objects) == (0, {})


async def test_an_object_stands_in_a_call_once() -> None:
    with pytest.raises(InvalidError, match="stands at settings_policies\\[0\\] too") as refused:
        await applied(desk(), settings_policy(), rules_policy("workstations"), settings_policy(enabled=False))
    assert fields(refused.value.problems) == ["settings_policies[2].metadata.name"]


async def test_validating_only_says_what_would_become_of_the_objects() -> None:
    at = desk()
    await applied(at, SET[0])
    outcome = await applied(at, *SET, validate_only=True)
    assert [action for _, action in actions(outcome)] == [Action.UNCHANGED, Action.CREATED, Action.CREATED]
    assert (outcome.revision, len(at.store.objects)) == (1, 1)


async def test_validating_only_says_the_problems() -> None:
    with pytest.raises(InvalidError):
        await applied(desk(), rules_policy("tools", rule(reusable="nobody")), validate_only=True)


async def test_groups_that_are_about_to_exist_count_when_validating() -> None:
    at = desk()
    policy = settings_policy(assignments=included("soon", excluding=["later"]))
    pending = [PendingGroup("soon", GroupType.DEVICE), PendingGroup("later", GroupType.DEVICE)]
    await applied(at, policy, validate_only=True, pending=pending)
    with pytest.raises(InvalidError, match="does not mix"):
        await applied(at, policy, validate_only=True, pending=[pending[0], PendingGroup("later", GroupType.USER)])
    with pytest.raises(InvalidError) as refused:
        await applied(at, policy, validate_only=True, pending=pending[:1])
    assert fields(refused.value.problems) == ["settings_policies[0].assignments.exclude[0].group"]


async def test_pending_groups_need_no_directory() -> None:
    at = desk()
    at.directories.received = False
    policy = settings_policy(assignments=included("soon"))
    await applied(at, policy, validate_only=True, pending=[PendingGroup("soon", GroupType.DEVICE)])
    with pytest.raises(UnavailableError):
        await applied(at, policy)


async def test_pending_groups_go_with_validating_only_and_have_a_type() -> None:
    with pytest.raises(InvalidError) as refused:
        await applied(desk(), settings_policy(assignments=included("soon")), pending=[PendingGroup("soon", None)])
    assert fields(refused.value.problems) == [
        "pending_groups",
        "pending_groups[0].type",
        "settings_policies[0].assignments.include[0].group",
    ]


async def test_the_call_waits_for_the_directory_revision_that_it_names() -> None:
    at = desk()
    at.directories.revision = 7
    await applied(at, *SET, directory_revision=7)
    assert at.directories.asked_for == [7]
    with pytest.raises(UnavailableError):
        await applied(at, settings_policy("late"), directory_revision=8)
    assert at.store.kept_revision == 1


async def test_each_action_takes_its_right() -> None:
    at = desk()
    at.hire("creator", [CREATE])
    at.hire("updater", [UPDATE])
    at.hire("assigner", [ASSIGN])
    plain, assigned = settings_policy(), settings_policy(assignments=included("laptops"))
    steps: list[tuple[AnyContent, str]] = [
        (plain, "creator"),
        (assigned, "assigner"),
        (replace(assigned, enabled=False), "updater"),
    ]
    for content, allowed in steps:
        for other in {"creator", "updater", "assigner"} - {allowed}:
            with pytest.raises(DeniedError) as refused:
                await applied(at, content, by=other)
            assert refused.value.reason == "RIGHT_MISSING"
        await applied(at, content, by=allowed)
    assert at.store.kept_revision == len(steps)


async def test_creating_an_assigned_policy_takes_both_rights() -> None:
    at = desk()
    at.hire("creator", [CREATE])
    at.hire("both", [CREATE, ASSIGN])
    with pytest.raises(DeniedError):
        await applied(at, settings_policy(assignments=included("laptops")), by="creator")
    await applied(at, settings_policy(assignments=included("laptops")), by="both")


async def test_who_may_change_nothing_is_refused_whatever_the_input_is() -> None:
    at = desk()
    at.hire("reader", [READ])
    for contents in ([], [settings_policy("")]):
        with pytest.raises(DeniedError) as refused:
            await applied(at, *contents, by="reader")
        assert refused.value.reason == "RIGHT_MISSING"


async def test_groups_out_of_scope_are_refused() -> None:
    at = desk()
    at.hire("emil", groups=["laptops"])
    await applied(at, settings_policy(assignments=included("laptops")), by="emil")
    with pytest.raises(DeniedError) as refused:
        await applied(at, settings_policy(assignments=included("laptops", excluding=["kiosks"])), by="emil")
    assert refused.value.reason == "GROUP_OUT_OF_SCOPE"


async def test_an_object_out_of_scope_is_not_replaced() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    await at.create(settings_policy(), tags=["apac"])
    for content in (settings_policy(), settings_policy(enabled=False)):
        with pytest.raises(DeniedError) as refused:
            await applied(at, content, by="emil")
        assert refused.value.reason == "OBJECT_OUT_OF_SCOPE"


async def test_an_object_that_may_be_seen_and_not_updated_is_left() -> None:
    at = desk()
    at.hire("emil", [READ], tags=["apac"])
    at.hire("emil", [UPDATE], tags=["emea"])
    await at.create(settings_policy(), tags=["apac"])
    assert actions(await applied(at, settings_policy(), by="emil")) == [("workstations", Action.UNCHANGED)]
    with pytest.raises(DeniedError) as refused:
        await applied(at, settings_policy(enabled=False), by="emil")
    assert refused.value.reason == "OBJECT_OUT_OF_SCOPE"


async def test_tags_out_of_scope_are_refused() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    await at.create(settings_policy(), tags=["emea"])
    for content in (settings_policy(), settings_policy("new")):
        with pytest.raises(DeniedError) as refused:
            await applied(at, content, by="emil", tags=["emea", "apac"])
        assert refused.value.reason == "SCOPE_TAG_OUT_OF_SCOPE"


async def test_a_certificate_that_is_not_visible_cannot_be_named_by_another_policy() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    await at.create(reusable(), tags=["apac"])
    named = rules_policy("tools", rule(reusable="vendor"))
    await at.create(named, tags=["emea"])
    with pytest.raises(InvalidError) as refused:
        await applied(at, named, rules_policy("more", rule(reusable="vendor")), by="emil")
    assert fields(refused.value.problems) == ["rules_policies[1].rules[0].detection.certificate.reusable"]


async def test_the_author_and_the_time_stand_on_what_was_applied() -> None:
    at = desk()
    at.hire("emil")
    await applied(at, reusable(), by="emil")
    about = (await at.read(ReusableCertificate, "vendor")).about
    assert (about.updated_by, about.created) == ("user:emil", NOW)
