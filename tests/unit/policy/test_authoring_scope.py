"""Who sees what, whom they may target, and which scope tags are theirs to hand out."""

import pytest

from elevation.model import Assignments, ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.errors import ConflictError, DeniedError, InvalidError, NotFoundError, StateError
from services.policy.model.drafts import NewAssignments
from services.policy.model.objects import Stored
from services.policy.usecases.scope import ASSIGN, CREATE, READ, UPDATE
from tests.builders.authoring import AUTHORING, DELETE, Desk, desk
from tests.builders.policy import included, reusable, rule, rules_policy, settings_policy
from tests.fakes.policy import MemoryStore


async def assign(at: Desk[MemoryStore], assignments: Assignments, *, by: str) -> Stored[SettingsPolicy]:
    new = NewAssignments(name="workstations", etag="", assignments=assignments)
    return await at.assign(SettingsPolicy, new, by=by)


async def listed(at: Desk[MemoryStore], by: str) -> list[str]:
    page = await at.list(SettingsPolicy, by=by, page_size=10)
    return [item.name for item in page.items]


async def test_a_new_object_gets_its_creators_tags() -> None:
    at = desk()
    at.hire("emil", tags=["emea", "apac"])
    assert (await at.create(settings_policy(), by="emil")).about.scope_tags == {"emea", "apac"}


async def test_a_new_object_of_somebody_who_sees_everything_is_default() -> None:
    assert (await desk().create(settings_policy())).about.scope_tags == {"default"}


async def test_a_creator_may_choose_among_own_tags_only() -> None:
    at = desk()
    at.hire("emil", tags=["emea", "apac"])
    assert (await at.create(settings_policy(), by="emil", tags=["apac"])).about.scope_tags == {"apac"}
    with pytest.raises(DeniedError, match="amer") as refused:
        await at.create(rules_policy(), by="emil", tags=["apac", "amer"])
    assert refused.value.reason == "SCOPE_TAG_OUT_OF_SCOPE"
    assert at.store.kept_revision == 1


async def test_lists_hold_what_is_visible() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    await at.create(settings_policy("a"), tags=["emea", "apac"])
    await at.create(settings_policy("b"), tags=["apac"])
    await at.create(settings_policy("c"))
    assert await listed(at, "emil") == ["a"]
    assert await listed(at, "root") == ["a", "b", "c"]


async def test_what_is_not_visible_looks_as_if_it_were_not_there() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    foreign = await at.create(settings_policy(), tags=["apac"])
    for act in (
        at.read(SettingsPolicy, "workstations", by="emil"),
        at.update(settings_policy(enabled=False), etag=foreign.about.etag, by="emil"),
        at.delete(SettingsPolicy, "workstations", by="emil"),
        assign(at, included("laptops"), by="emil"),
    ):
        with pytest.raises(NotFoundError, match='there is no settings policy "workstations"'):
            await act
    assert at.store.kept_revision == 1


async def test_a_right_counts_only_within_the_scope_of_its_own_role_assignment() -> None:
    at = desk()
    at.hire("emil", [READ, UPDATE], tags=["emea"])
    at.hire("emil", [READ], tags=["apac"])
    foreign = await at.create(settings_policy(), tags=["apac"])
    assert (await at.read(SettingsPolicy, "workstations", by="emil")) == foreign
    with pytest.raises(NotFoundError):
        await at.update(settings_policy(enabled=False), etag=foreign.about.etag, by="emil")


async def test_the_name_of_an_object_that_is_not_visible_is_taken_all_the_same() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    await at.create(settings_policy(), tags=["apac"])
    with pytest.raises(ConflictError, match="is taken"):
        await at.create(settings_policy(), by="emil")


async def test_an_update_without_tags_keeps_them() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    old = await at.create(settings_policy(), tags=["emea", "apac"])
    new = await at.update(settings_policy(enabled=False), etag=old.about.etag, by="emil")
    assert new.about.scope_tags == {"emea", "apac"}


async def test_tags_of_others_can_neither_be_given_nor_taken() -> None:
    at = desk()
    at.hire("emil", tags=["emea", "amer"])
    old = await at.create(settings_policy(), tags=["emea", "apac"])
    for tags in (["emea"], ["emea", "apac", "default"], ["emea", "apac", "other"]):
        with pytest.raises(DeniedError) as refused:
            await at.update(settings_policy(), etag=old.about.etag, by="emil", tags=tags)
        assert refused.value.reason == "SCOPE_TAG_OUT_OF_SCOPE"
    new = await at.update(settings_policy(), etag=old.about.etag, by="emil", tags=["amer", "apac"])
    assert new.about.scope_tags == {"amer", "apac"}


async def test_assigning_reaches_the_scope_groups_alone_excluded_ones_included() -> None:
    at = desk()
    at.hire("emil", groups=["laptops"])
    await at.create(settings_policy())
    for beyond in (included("kiosks"), included("laptops", excluding=["kiosks"]), included("all-devices")):
        with pytest.raises(DeniedError) as refused:
            await assign(at, beyond, by="emil")
        assert refused.value.reason == "GROUP_OUT_OF_SCOPE"
    assert (await assign(at, included("laptops"), by="emil")).content.assignments == included("laptops")


async def test_a_group_out_of_scope_cannot_be_taken_away_and_may_stay() -> None:
    at = desk()
    at.hire("emil", groups=["laptops"])
    await at.create(settings_policy(assignments=included("kiosks")))
    with pytest.raises(DeniedError, match="kiosks"):
        await assign(at, Assignments(), by="emil")
    both = included("kiosks", "laptops")
    assert (await assign(at, both, by="emil")).content.assignments == both


async def test_whether_a_group_out_of_scope_exists_is_not_told() -> None:
    at = desk()
    at.hire("emil", groups=["laptops"])
    await at.create(settings_policy())
    with pytest.raises(DeniedError, match="nowhere"):
        await assign(at, included("nowhere"), by="emil")


async def test_somebody_who_may_target_everything_may_target_every_group() -> None:
    at = desk()
    await at.create(settings_policy())
    await assign(at, included("laptops", "kiosks", "all-devices"), by="root")


async def test_creating_an_assigned_policy_needs_the_right_to_assign() -> None:
    at = desk()
    at.hire("emil", [CREATE])
    await at.create(settings_policy("unassigned"), by="emil")
    with pytest.raises(DeniedError) as refused:
        await at.create(settings_policy(assignments=included("laptops")), by="emil")
    assert refused.value.reason == "RIGHT_MISSING"


async def test_creating_an_assigned_policy_needs_the_groups_in_scope() -> None:
    at = desk()
    at.hire("emil", [CREATE], tags=["emea"])
    at.hire("emil", [ASSIGN], tags=["emea"], groups=["laptops"])
    at.hire("emil", [ASSIGN], tags=["apac"], groups=["kiosks"])
    await at.create(settings_policy("fine", assignments=included("laptops")), by="emil")
    with pytest.raises(DeniedError) as refused:
        await at.create(settings_policy("beyond", assignments=included("kiosks")), by="emil")
    assert refused.value.reason == "GROUP_OUT_OF_SCOPE"


async def test_who_may_not_is_told_so_before_the_input_is_checked() -> None:
    at = desk()
    at.hire("emil", groups=["laptops"])
    with pytest.raises(DeniedError):
        await at.create(settings_policy("", assignments=included("kiosks")), by="emil")


async def test_a_certificate_that_is_not_visible_cannot_be_named() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    await at.create(reusable(), tags=["apac"])
    with pytest.raises(InvalidError, match='reusable certificate "vendor" does not exist'):
        await at.create(rules_policy("tools", rule(reusable="vendor")), by="emil")


async def test_a_certificate_that_a_policy_names_already_may_stay() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    await at.create(reusable(), tags=["apac"])
    old = await at.create(rules_policy("tools", rule(reusable="vendor")), tags=["emea"])
    both = rules_policy("tools", rule("a", reusable="vendor"), rule("b", reusable="vendor"))
    assert (await at.update(both, etag=old.about.etag, by="emil")).content == both


async def test_users_of_a_certificate_that_are_not_visible_are_not_named() -> None:
    at = desk()
    at.hire("emil", [DELETE], tags=["emea"])
    await at.create(reusable(), tags=["emea"])
    await at.create(rules_policy("secret", rule(reusable="vendor")), tags=["apac"])
    with pytest.raises(StateError, match="named by rules that you may not see;") as hidden:
        await at.delete(ReusableCertificate, "vendor", by="emil")
    assert "secret" not in str(hidden.value)
    await at.create(rules_policy("open", rule(reusable="vendor")), tags=["emea"])
    with pytest.raises(StateError, match="named by open/setup, rules that you may not see;"):
        await at.delete(ReusableCertificate, "vendor", by="emil")


async def test_a_right_that_is_missing_is_missing_for_every_object() -> None:
    at = desk()
    at.hire("emil", set(AUTHORING) - {DELETE})
    await at.create(rules_policy(), by="emil")
    with pytest.raises(DeniedError):
        await at.delete(RulesPolicy, "tools", by="emil")
