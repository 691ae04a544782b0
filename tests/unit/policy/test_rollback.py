"""Old content comes back as a new revision, and only what would be accepted today."""

from dataclasses import replace
from datetime import timedelta

import pytest

from elevation.model import Platform, ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.errors import ConflictError, DeniedError, InvalidError, NotFoundError
from services.policy.model.objects import Action
from services.policy.usecases.scope import ASSIGN, CREATE, READ, UPDATE
from tests.builders.applying import applied, deleting, revisions_of, rolled_back
from tests.builders.authoring import Desk, desk
from tests.builders.policy import included, reusable, rule, rules_policy, settings_policy
from tests.fakes.clock import NOW
from tests.fakes.policy import MemoryStore

FIRST = settings_policy(description="first", assignments=included("laptops"))
SECOND = settings_policy(enabled=False, assignments=included("kiosks"))


async def changed_twice() -> Desk[MemoryStore]:
    at = desk()
    await applied(at, FIRST, tags=["emea"])
    await applied(at, SECOND, tags=["emea", "apac"])
    return at


async def test_the_content_is_old_and_labels_tags_and_assignments_are_those_of_now() -> None:
    at = await changed_twice()
    restored = await rolled_back(at, SettingsPolicy, "workstations", 1)
    assert restored.content == replace(FIRST, assignments=SECOND.assignments)
    assert (restored.about.scope_tags, restored.about.etag, restored.about.revision) == (
        frozenset({"emea", "apac"}),
        "3",
        3,
    )
    assert await at.read(SettingsPolicy, "workstations") == restored
    newest, *_ = await revisions_of(at, SettingsPolicy, "workstations")
    assert (newest.change, newest.action, newest.rolled_back_to, newest.reason) == (3, Action.UPDATED, 1, "as it was")


async def test_assignments_come_back_only_where_that_is_asked_for() -> None:
    at = await changed_twice()
    restored = await rolled_back(at, SettingsPolicy, "workstations", 1, with_assignments=True)
    assert restored.content == FIRST


async def test_the_same_again_changes_nothing_whatever_the_etag() -> None:
    at = await changed_twice()
    first = await rolled_back(at, SettingsPolicy, "workstations", 1, etag="2")
    assert await rolled_back(at, SettingsPolicy, "workstations", 1, etag="2") == first
    assert await rolled_back(at, SettingsPolicy, "workstations", 3) == first
    assert at.store.kept_revision == 3


async def test_a_stale_etag_is_refused() -> None:
    at = await changed_twice()
    with pytest.raises(ConflictError) as refused:
        await rolled_back(at, SettingsPolicy, "workstations", 1, etag="1")
    assert refused.value.stale


async def test_a_rehearsal_answers_and_writes_nothing() -> None:
    at = await changed_twice()
    would_be = await rolled_back(at, SettingsPolicy, "workstations", 1, validate_only=True)
    assert (would_be.content.description, would_be.about.etag) == ("first", "")
    assert (await at.read(SettingsPolicy, "workstations")).content == SECOND
    assert at.store.kept_revision == 2


async def test_restoring_assignments_takes_the_right_over_every_group_that_moves() -> None:
    at = await changed_twice()
    at.hire("updater", [UPDATE, READ])
    at.hire("emil", [UPDATE, READ, ASSIGN], groups=["laptops"])
    await rolled_back(at, SettingsPolicy, "workstations", 1, by="updater", validate_only=True)
    for by, reason in {"updater": "RIGHT_MISSING", "emil": "GROUP_OUT_OF_SCOPE"}.items():
        with pytest.raises(DeniedError) as refused:
            await rolled_back(at, SettingsPolicy, "workstations", 1, by=by, with_assignments=True)
        assert refused.value.reason == reason


async def test_what_was_deleted_is_made_again_for_nobody_with_its_labels_and_tags() -> None:
    at = await changed_twice()
    await applied(at, deletions=deleting(SECOND))
    restored = await rolled_back(at, SettingsPolicy, "workstations", 3)
    assert restored.content == replace(SECOND, assignments=included())
    about = restored.about
    assert (about.scope_tags, about.labels["owner"], about.etag) == (frozenset({"emea", "apac"}), "team", "4")
    assert (about.created_by, about.created) == ("user:root", NOW)
    newest, *_ = await revisions_of(at, SettingsPolicy, "workstations")
    assert (newest.action, newest.rolled_back_to) == (Action.CREATED, 3)
    assert await rolled_back(at, SettingsPolicy, "workstations", 3) == restored


async def test_what_was_deleted_can_come_back_with_its_assignments() -> None:
    at = await changed_twice()
    await applied(at, deletions=deleting(SECOND))
    assert (await rolled_back(at, SettingsPolicy, "workstations", 1, with_assignments=True)).content == FIRST


async def test_making_again_takes_the_right_to_create_within_the_tags() -> None:
    at = await changed_twice()
    at.hire("updater", [UPDATE, READ])
    at.hire("emil", [UPDATE, CREATE, READ], tags=["emea"])
    await applied(at, deletions=deleting(SECOND))
    for by, reason in {"updater": "RIGHT_MISSING", "emil": "SCOPE_TAG_OUT_OF_SCOPE"}.items():
        with pytest.raises(DeniedError) as refused:
            await rolled_back(at, SettingsPolicy, "workstations", 1, by=by)
        assert refused.value.reason == reason


async def test_an_etag_of_what_was_deleted_is_stale() -> None:
    at = await changed_twice()
    await applied(at, deletions=deleting(SECOND))
    with pytest.raises(ConflictError, match="was deleted meanwhile") as refused:
        await rolled_back(at, SettingsPolicy, "workstations", 1, etag="2")
    assert refused.value.stale


async def test_content_that_is_accepted_no_more_is_refused_with_all_problems() -> None:
    at = desk()
    await at.keep(rules_policy("tools", rule("a", reusable="gone"), assignments=included("vanished")))
    await at.keep(replace(settings_policy(), stale_after=timedelta(0)))
    await applied(at, rules_policy("tools", rule("b")), settings_policy())
    with pytest.raises(InvalidError) as refused:
        await rolled_back(at, RulesPolicy, "tools", 1, with_assignments=True)
    assert [problem.field for problem in refused.value.problems] == [
        "assignments.include[0].group",
        "rules[0].detection.certificate.reusable",
    ]
    with pytest.raises(InvalidError) as refused:
        await rolled_back(at, SettingsPolicy, "workstations", 2)
    assert [problem.field for problem in refused.value.problems] == ["settings.stale_after"]


async def test_the_platform_of_another_life_of_the_name_does_not_come_back() -> None:
    at = desk()
    linux = replace(rules_policy(), platform=Platform.LINUX)
    await at.keep(linux)
    await applied(at, deletions=deleting(linux))
    await applied(at, rules_policy())
    with pytest.raises(InvalidError, match="cannot be changed from WINDOWS"):
        await rolled_back(at, RulesPolicy, "tools", 1)


async def test_what_was_deleted_does_not_come_back_beside_a_name_that_looks_the_same() -> None:
    at = desk()
    await applied(at, settings_policy("cop"))
    await applied(at, deletions=deleting(settings_policy("cop")))
    await applied(at, settings_policy("\u0441\u043e\u0440"))
    with pytest.raises(InvalidError) as refused:
        await rolled_back(at, SettingsPolicy, "cop", 1)
    assert [problem.field for problem in refused.value.problems] == ["metadata.name"]


async def test_an_object_out_of_sight_and_a_change_that_never_was_are_not_found() -> None:
    at = await changed_twice()
    at.hire("anna", tags=["elsewhere"])
    with pytest.raises(NotFoundError, match="never was"):
        await rolled_back(at, SettingsPolicy, "workstations", 1, by="anna")
    for change in (0, 9):
        with pytest.raises(NotFoundError, match="has no revision"):
            await rolled_back(at, SettingsPolicy, "workstations", change)


async def test_a_certificate_gets_its_old_content_and_rules_follow() -> None:
    at = desk()
    await applied(at, reusable(), rules_policy("tools", rule(reusable="vendor")))
    await applied(at, reusable(pem="vendor-renewed"))
    assert (await rolled_back(at, ReusableCertificate, "vendor", 1)).content == reusable()
