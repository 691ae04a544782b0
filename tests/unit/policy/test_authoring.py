"""Single objects: created, read, replaced, assigned and deleted."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from elevation.model import (
    Assignments,
    Detection,
    Include,
    Platform,
    ReusableCertificate,
    Rule,
    RulesPolicy,
    SettingsPolicy,
)
from services._chassis.errors import ConflictError, InvalidError, NotFoundError, Problem, StateError, UnavailableError
from services._chassis.paging import PageRequest
from services.policy.model.drafts import NewAssignments
from services.policy.model.objects import AnyContent, Stored, kind_of
from tests.builders.authoring import Desk, desk, draft
from tests.builders.elevation import HASH
from tests.builders.policy import included, reusable, rule, rules_policy, settings_policy
from tests.fakes.clock import NOW
from tests.fakes.policy import MemoryStore

LATER = NOW + timedelta(hours=1)
EVERY_KIND: list[AnyContent] = [settings_policy(), rules_policy(), reusable()]


async def assign(
    at: Desk[MemoryStore], name: str, assignments: Assignments, *, etag: str = ""
) -> Stored[SettingsPolicy]:
    new = NewAssignments(name=name, etag=etag, assignments=assignments)
    return await at.assign(SettingsPolicy, new, now=LATER)


def fields(problems: Sequence[Problem]) -> list[str]:
    return [problem.field for problem in problems]


@pytest.mark.parametrize("content", EVERY_KIND, ids=lambda content: kind_of(type(content)).one)
async def test_what_was_created_can_be_read(content: AnyContent) -> None:
    at = desk()
    created = await at.create(content)
    assert created.content == content
    assert created == await at.read(type(content), content.name)
    about = created.about
    assert (about.revision, about.etag, about.updated_by, about.created) == (1, "1", "user:root", NOW)
    assert about.labels == {"owner": "team"}


async def test_a_creation_is_one_change_in_the_history() -> None:
    at = desk()
    created = await at.create(settings_policy())
    (change,) = at.store.changes
    assert (change.before, change.after, change.revision, change.actor) == (None, created, 1, "user:root")


@pytest.mark.parametrize("content", EVERY_KIND, ids=lambda content: kind_of(type(content)).one)
async def test_a_name_is_taken_once(content: AnyContent) -> None:
    at = desk()
    await at.create(content)
    with pytest.raises(ConflictError, match="is taken") as refused:
        await at.create(content)
    assert not refused.value.stale
    assert at.store.kept_revision == 1


async def test_all_problems_are_said_at_once_in_the_spelling_of_the_contract() -> None:
    at = desk()
    bad = rule(" ", reusable="nobody")
    bad = replace(
        bad, detection=replace(bad.detection, file_hash="xyz", minimum_version="one"), arguments=("bell\x07", "")
    )
    bad = replace(bad, lint=(replace(bad.lint[0], check="nonsense"),))
    policy = rules_policy(
        "x" * 129, bad, description="d" * 1025, assignments=Assignments((Include("nowhere", "os ="),))
    )
    wanted = replace(draft(policy), labels={"": "v"}, scope_tags=frozenset(f"tag-{n}" for n in range(101)))
    with pytest.raises(InvalidError) as refused:
        await at.submit(wanted)
    assert sorted(fields(refused.value.problems)) == [
        "rules_policy.assignments.include[0].filter",
        "rules_policy.assignments.include[0].group",
        "rules_policy.metadata.description",
        'rules_policy.metadata.labels[""]',
        "rules_policy.metadata.name",
        "rules_policy.metadata.scope_tags",
        "rules_policy.rules[0].arguments.command_lines[0]",
        "rules_policy.rules[0].detection.certificate.reusable",
        "rules_policy.rules[0].detection.file_hash",
        "rules_policy.rules[0].detection.minimum_version",
        "rules_policy.rules[0].lint_ignores[0].finding",
        "rules_policy.rules[0].name",
    ]
    assert at.store.kept_revision == 0


async def test_problems_of_settings_lie_below_settings() -> None:
    bad = settings_policy(stale_after=timedelta(0), send_reporting_data=False)
    with pytest.raises(InvalidError) as refused:
        await desk().create(bad)
    assert fields(refused.value.problems) == [
        "settings_policy.settings.reporting_scope",
        "settings_policy.settings.stale_after",
    ]


async def test_a_policy_holds_at_most_100_rules() -> None:
    at = desk()
    await at.create(rules_policy("full", *(rule(f"r{number}") for number in range(100))))
    with pytest.raises(InvalidError) as refused:
        await at.create(rules_policy("too-full", *(rule(f"r{number}") for number in range(101))))
    assert fields(refused.value.problems) == ["rules_policy.rules"]


async def test_an_object_carries_at_most_100_tags_and_labels() -> None:
    at = desk()
    many = {f"l{number}": "" for number in range(101)}
    with pytest.raises(InvalidError) as refused:
        await at.submit(replace(draft(reusable()), labels=many))
    assert fields(refused.value.problems) == ["reusable_certificate.metadata.labels"]
    created = await at.create(reusable(), tags=[f"t{number}" for number in range(100)])
    assert len(created.about.scope_tags) == 100


async def test_a_rule_may_name_a_certificate_that_is_there() -> None:
    at = desk()
    await at.create(reusable())
    policy = rules_policy("tools", rule(reusable="vendor"))
    assert (await at.create(policy)).content == policy


async def test_an_assigned_group_must_be_in_the_directory() -> None:
    at = desk()
    await at.create(settings_policy("a", assignments=included("laptops", "all-devices", excluding=["kiosks"])))
    with pytest.raises(InvalidError) as refused:
        await at.create(settings_policy("b", assignments=included("laptops", excluding=["nowhere"])))
    assert fields(refused.value.problems) == ["settings_policy.assignments.exclude[0].group"]


MIXED = [
    (["developers"], "kiosks"),
    (["laptops"], "developers"),
    (["all-users"], "kiosks"),
    (["all-devices"], "developers"),
    (["developers", "laptops"], "kiosks"),
]


@pytest.mark.parametrize(("include", "exclude"), MIXED)
async def test_groups_of_devices_and_users_do_not_mix(include: list[str], exclude: str) -> None:
    at, mixed = desk(), included(*include, excluding=[exclude])
    with pytest.raises(InvalidError, match="does not mix") as refused:
        await at.create(settings_policy(assignments=mixed))
    assert fields(refused.value.problems) == ["settings_policy.assignments.exclude[0].group"]
    await at.create(settings_policy())
    with pytest.raises(InvalidError, match="does not mix") as refused:
        await assign(at, "workstations", mixed)
    assert fields(refused.value.problems) == ["assignments.exclude[0].group"]


async def test_groups_of_both_types_may_be_included_and_those_of_one_type_excluded() -> None:
    at = desk()
    await at.create(settings_policy("both", assignments=included("developers", "laptops")))
    await at.create(settings_policy("devices", assignments=included("all-devices", "laptops", excluding=["kiosks"])))
    await at.create(settings_policy("users", assignments=included("all-users", excluding=["developers"])))


async def test_a_certificate_that_very_many_rules_name_is_refused_with_as_many_as_fit() -> None:
    at = desk()
    await at.create(reusable())
    for number in range(3):
        rules = [rule(f"a rule of a rather long name, number {each}", reusable="vendor") for each in range(100)]
        await at.create(rules_policy(f"p{number}", *rules))
    with pytest.raises(StateError) as refused:
        await at.delete(ReusableCertificate, "vendor")
    assert "p0/a rule of a rather long name, number 0, " in refused.value.message
    assert re.search(r" and 2\d\d more; change those rules first$", refused.value.message)
    assert len(refused.value.message) < 1100


async def test_without_a_directory_only_groups_that_always_exist_can_be_named() -> None:
    at = desk()
    at.directories.received = False
    await at.create(settings_policy("unassigned"))
    await at.create(settings_policy("everywhere", assignments=included("all-devices")))
    with pytest.raises(UnavailableError):
        await at.create(settings_policy("laptops", assignments=included("laptops")))


async def test_an_update_replaces_everything_but_assignments_and_creation() -> None:
    at = desk()
    old = await at.create(settings_policy(assignments=included("laptops")))
    wanted = settings_policy(enabled=False, description="new", assignments=included("nowhere"))
    new = await at.update(wanted, etag=old.about.etag, now=LATER)
    assert new.content == replace(wanted, assignments=included("laptops"))
    assert (new.about.created, new.about.updated) == (NOW, LATER)
    assert (new.about.revision, new.about.etag) == (2, "2")
    assert new == await at.read(SettingsPolicy, "workstations")


async def test_a_stale_etag_is_refused_and_the_current_one_told() -> None:
    at = desk()
    old = await at.create(settings_policy())
    new = await at.update(settings_policy(enabled=False), etag=old.about.etag)
    with pytest.raises(ConflictError, match=f'its etag is now "{new.about.etag}"') as refused:
        await at.update(settings_policy(description="other"), etag=old.about.etag)
    assert refused.value.stale
    assert await at.read(SettingsPolicy, "workstations") == new


async def test_the_same_update_twice_changes_nothing_the_second_time() -> None:
    at = desk()
    old = await at.create(settings_policy())
    once = await at.update(settings_policy(enabled=False), etag=old.about.etag)
    twice = await at.update(settings_policy(enabled=False), etag=old.about.etag, now=LATER)
    assert twice == once
    assert (at.store.kept_revision, len(at.store.changes)) == (2, 2)


async def test_an_update_needs_an_etag() -> None:
    at = desk()
    await at.create(reusable())
    with pytest.raises(InvalidError) as refused:
        await at.update(reusable(pem="other"), etag="")
    assert fields(refused.value.problems) == ["reusable_certificate.metadata.etag"]


async def test_an_update_says_its_problems_with_the_missing_etag() -> None:
    at = desk()
    await at.create(settings_policy())
    with pytest.raises(InvalidError) as refused:
        await at.update(settings_policy(stale_after=timedelta(0)), etag="")
    assert fields(refused.value.problems) == ["settings_policy.settings.stale_after", "settings_policy.metadata.etag"]


async def test_what_is_not_there_cannot_be_updated() -> None:
    with pytest.raises(NotFoundError):
        await desk().update(settings_policy(), etag="1")


async def test_the_platform_cannot_be_changed() -> None:
    at = desk()
    portable = Rule("portable", detection=Detection("setup.exe", file_hash=HASH))
    old = await at.create(rules_policy("tools", portable))
    with pytest.raises(InvalidError, match="cannot be changed from WINDOWS") as refused:
        await at.update(rules_policy("tools", portable, platform=Platform.MACOS), etag=old.about.etag)
    assert fields(refused.value.problems) == ["rules_policy.platform"]


async def test_a_new_description_is_a_new_etag_and_no_new_revision() -> None:
    at = desk()
    old = await at.create(rules_policy())
    new = await at.update(rules_policy(description="told better"), etag=old.about.etag)
    assert (new.about.revision, new.about.etag) == (1, "2")


async def test_a_certificate_that_is_replaced_has_a_new_revision() -> None:
    at = desk()
    old = await at.create(reusable())
    new = await at.update(reusable(pem="other"), etag=old.about.etag)
    assert (new.about.revision, new.content) == (2, reusable(pem="other"))


async def test_an_update_of_a_policy_whose_group_is_gone_is_no_problem() -> None:
    at = desk()
    old = await at.create(settings_policy(assignments=included("laptops")))
    at.directories.groups = {}
    await at.update(settings_policy(enabled=False), etag=old.about.etag)


async def test_assigning_replaces_the_assignments_alone() -> None:
    at = desk()
    old = await at.create(settings_policy(description="kept", assignments=included("laptops")))
    new = await assign(at, "workstations", included("developers"), etag=old.about.etag)
    assert new.content == replace(old.content, assignments=included("developers"))
    assert (new.about.revision, new.about.etag, new.about.updated) == (2, "2", LATER)
    assert at.store.changes[-1].action.value == "assigned"
    assert new == await at.read(SettingsPolicy, "workstations")


async def test_assigning_the_same_again_changes_nothing() -> None:
    at = desk()
    old = await at.create(settings_policy())
    once = await assign(at, "workstations", included("laptops"), etag=old.about.etag)
    assert await assign(at, "workstations", included("laptops"), etag=old.about.etag) == once
    assert at.store.kept_revision == 2


async def test_assigning_under_a_stale_etag_is_refused_and_under_none_is_not() -> None:
    at = desk()
    old = await at.create(settings_policy())
    await assign(at, "workstations", included("laptops"))
    with pytest.raises(ConflictError) as refused:
        await assign(at, "workstations", included("kiosks"), etag=old.about.etag)
    assert refused.value.stale


async def test_assignments_are_checked_whole() -> None:
    at = desk()
    await at.create(settings_policy())
    bad = replace(included("developers", excluding=["kiosks", "nowhere"]), include=(Include("developers", "size = 3"),))
    with pytest.raises(InvalidError) as refused:
        await assign(at, "workstations", bad)
    assert fields(refused.value.problems) == [
        "assignments.include[0].filter",
        "assignments.exclude[1].group",
        "assignments.exclude[0].group",
    ]


async def test_what_is_not_there_cannot_be_assigned() -> None:
    with pytest.raises(NotFoundError):
        await assign(desk(), "workstations", included("laptops"))


@pytest.mark.parametrize("content", EVERY_KIND, ids=lambda content: kind_of(type(content)).one)
async def test_what_was_deleted_is_gone(content: AnyContent) -> None:
    at = desk()
    created = await at.create(content)
    await at.delete(type(content), content.name, etag=created.about.etag)
    with pytest.raises(NotFoundError):
        await at.read(type(content), content.name)
    assert (at.store.changes[-1].before, at.store.changes[-1].after) == (created, None)
    with pytest.raises(NotFoundError):
        await at.delete(type(content), content.name)


async def test_deleting_under_a_stale_etag_is_refused() -> None:
    at = desk()
    await at.create(settings_policy())
    with pytest.raises(ConflictError, match='its etag is now "1"') as refused:
        await at.delete(SettingsPolicy, "workstations", etag="7")
    assert refused.value.stale
    assert refused.value.details == {"etag": "1", "changed_by": "user:root", "changed": f"{NOW:%Y-%m-%dT%H:%M:%SZ}"}


async def test_a_certificate_in_use_stays_and_its_users_are_named() -> None:
    at = desk()
    await at.create(reusable())
    await at.create(rules_policy("tools", rule("a"), rule("b", reusable="vendor"), rule("c", reusable="vendor")))
    await at.create(rules_policy("more", rule("d", reusable="vendor")))
    with pytest.raises(StateError, match="named by more/d, tools/b, tools/c;") as refused:
        await at.delete(ReusableCertificate, "vendor")
    assert refused.value.reason == "CERTIFICATE_IN_USE"
    await at.delete(RulesPolicy, "tools")
    await at.delete(RulesPolicy, "more")
    await at.delete(ReusableCertificate, "vendor")


async def test_lists_go_by_name_page_by_page() -> None:
    at = desk()
    for name in ("c", "a", "b"):
        await at.create(reusable(name))
    first = await at.list(ReusableCertificate, page_size=2)
    rest = await at.list(ReusableCertificate, page_size=2, page_token=first.next_token)
    assert [[item.name for item in page.items] for page in (first, rest)] == [["a", "b"], ["c"]]
    assert rest.next_token == ""


@pytest.mark.parametrize("key", [(7,), ("a", "b")])
async def test_a_token_that_no_list_gave_is_refused(key: tuple[str | int, ...]) -> None:
    at = desk()
    forged = PageRequest(2, question="rules_policies").next_token(key)
    with pytest.raises(InvalidError) as refused:
        await at.list(RulesPolicy, page_size=2, page_token=forged)
    assert refused.value.reason == "PAGE_TOKEN_INVALID"


async def test_a_token_of_another_list_is_refused() -> None:
    at = desk()
    foreign = PageRequest(2, question="rules_policies").next_token(("a",))
    with pytest.raises(InvalidError, match="page_token"):
        await at.list(SettingsPolicy, page_size=2, page_token=foreign)
