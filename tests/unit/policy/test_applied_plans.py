"""What a plan asks of an apply: nothing changed since, deletions of its owner's alone, and what code said is remembered."""

from dataclasses import replace

import pytest

from elevation.model import Assignments, Include, ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.errors import ConflictError, DeniedError, InvalidError, StateError
from services._chassis.expected import Expected
from services.policy.model.application import Deletion, OwnerLabel
from services.policy.model.objects import Action, AnyContent
from services.policy.usecases.scope import ASSIGN, CREATE, DELETE, READ, UPDATE
from tests.builders.applying import TEAM, actions, applied, deleting, etags, expecting, revisions_of
from tests.builders.authoring import Desk, desk
from tests.builders.policy import reusable, rule, rules_policy, settings_policy
from tests.fakes.policy import MemoryStore

TOOLS = rules_policy("tools", rule(reusable="vendor"))
SET: tuple[AnyContent, ...] = (reusable(), settings_policy(), TOOLS)


async def applied_set() -> Desk[MemoryStore]:
    at = desk()
    await applied(at, *SET)
    return at


async def test_what_is_as_expected_is_applied() -> None:
    at = await applied_set()
    new = settings_policy("new")
    expected = [expecting(SET[0], "1"), expecting(settings_policy(), "1"), expecting(new, "")]
    outcome = await applied(at, settings_policy(enabled=False), new, expected=expected)
    assert actions(outcome) == [("workstations", Action.UPDATED), ("new", Action.CREATED)]
    assert etags(outcome) == [("1", "2"), ("", "2")]


async def test_everything_that_is_not_as_expected_is_named_at_once_with_who_and_when() -> None:
    at = await applied_set()
    at.hire("emil")
    await applied(at, settings_policy(enabled=False), settings_policy("new"), by="emil")
    await applied(at, deletions=deleting(TOOLS))
    expected = [
        expecting(reusable(), "1"),
        expecting(settings_policy(), "1"),
        expecting(settings_policy("new"), ""),
        expecting(TOOLS, "1"),
        expecting(settings_policy("never"), "4"),
        expecting(settings_policy("still not there"), ""),
    ]
    with pytest.raises(ConflictError) as refused:
        await applied(at, settings_policy("other"), expected=expected)
    assert refused.value.stale
    at_noon = "at 2026-11-23T12:00:00Z"
    assert refused.value.message == (
        f'changed since this was planned: ElevationSettingsPolicy "workstations" was changed by user:emil {at_noon},'
        f' ElevationSettingsPolicy "new" is there already, changed last by user:emil {at_noon},'
        f' ElevationRulesPolicy "tools" was deleted by user:root {at_noon},'
        ' ElevationSettingsPolicy "never" never was there; read the objects again and plan anew'
    )
    assert refused.value.details == {
        "etag": "2",
        "kind": "ElevationSettingsPolicy",
        "name": "workstations",
        "changed_by": "user:emil",
        "changed": at_noon.removeprefix("at "),
    }
    assert at.store.kept_revision == 3


async def test_of_what_the_caller_may_not_see_no_name_is_told() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    await applied(at, settings_policy("secret"), rules_policy("gone"), tags=["apac"])
    await applied(at, deletions=deleting(rules_policy("gone")))
    with pytest.raises(ConflictError) as refused:
        await applied(
            at,
            by="emil",
            expected=[expecting(settings_policy("secret"), "9"), expecting(rules_policy("gone"), "9")],
        )
    assert "secret" not in refused.value.message
    assert "gone" not in refused.value.message
    assert refused.value.message.count("an object that you may not see") == 2
    assert refused.value.details == {}


async def test_the_etag_of_what_the_caller_may_not_see_cannot_be_tried_out() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    await applied(at, settings_policy("secret"), tags=["apac"])
    told = set()
    for etag in ("1", "9"):
        with pytest.raises(ConflictError) as refused:
            await applied(at, by="emil", expected=[expecting(settings_policy("secret"), etag)])
        told.add(refused.value.message)
    assert len(told) == 1


async def test_writing_assignments_in_another_order_takes_the_right_to_assign() -> None:
    at = desk()
    at.hire("emil", [READ])
    at.hire("emil", [CREATE, ASSIGN], tags=["emea"])
    devices, users = Include("all-devices"), Include("all-users")
    await applied(at, settings_policy(assignments=Assignments((devices, users))))
    turned = settings_policy(assignments=Assignments((users, devices)))
    with pytest.raises(DeniedError) as refused:
        await applied(at, turned, by="emil", as_code=True)
    assert refused.value.reason == "OBJECT_OUT_OF_SCOPE"
    assert at.store.kept_revision == 1
    at.hire("lea", [READ, ASSIGN], groups=())
    assert actions(await applied(at, turned, by="lea")) == [("workstations", Action.UPDATED)]


async def test_expectations_are_compared_when_rehearsing_too() -> None:
    at = await applied_set()
    with pytest.raises(ConflictError):
        await applied(at, *SET, expected=[expecting(TOOLS, "7")], validate_only=True)


async def test_expectations_of_no_kind_and_twice_are_refused() -> None:
    with pytest.raises(InvalidError) as refused:
        await applied(desk(), expected=[Expected("Group", "a", ""), expecting(TOOLS, "1"), expecting(TOOLS, "2")])
    assert [problem.field for problem in refused.value.problems] == ["expected[0].kind", "expected[2].name"]


async def test_objects_of_the_owner_are_deleted_and_absent_ones_are_no_error() -> None:
    at = await applied_set()
    outcome = await applied(at, deletions=deleting(TOOLS, settings_policy("never"), reusable()))
    assert actions(outcome) == [
        ("tools", Action.DELETED),
        ("never", Action.UNCHANGED),
        ("vendor", Action.DELETED),
    ]
    assert etags(outcome) == [("1", ""), ("", ""), ("1", "")]
    assert list(at.store.objects) == [("settings_policy", "workstations")]
    again = await applied(at, deletions=deleting(TOOLS, settings_policy("never"), reusable()))
    assert {action for _, action in actions(again)} == {Action.UNCHANGED}
    assert at.store.kept_revision == 2


async def test_rehearsed_deletions_are_told_and_not_done() -> None:
    at = await applied_set()
    outcome = await applied(at, deletions=deleting(settings_policy()), validate_only=True)
    assert (actions(outcome), etags(outcome)) == ([("workstations", Action.DELETED)], [("1", "")])
    assert (len(at.store.objects), at.store.kept_revision) == (3, 1)


async def test_what_does_not_carry_the_owner_s_label_is_listed_and_nothing_is_deleted() -> None:
    at = await applied_set()
    for owner in (OwnerLabel("owner", "others"), OwnerLabel("squad", "team")):
        with pytest.raises(DeniedError, match='settings policy "workstations", the rules policy "tools"') as refused:
            await applied(at, deletions=deleting(settings_policy(), TOOLS), owner=owner)
        assert refused.value.reason == "NOT_THE_OWNER"
    assert len(at.store.objects) == 3


async def test_deletions_need_an_owner_a_kind_and_a_place_of_their_own() -> None:
    at = await applied_set()
    with pytest.raises(InvalidError) as refused:
        await applied(
            at,
            settings_policy(),
            deletions=[Deletion("Group", "a"), *deleting(settings_policy(), TOOLS, TOOLS)],
            owner=OwnerLabel("", ""),
        )
    assert [problem.field for problem in refused.value.problems] == [
        "deletions[0].kind",
        "deletions[1].name",
        "deletions[3].name",
        "owner.key",
    ]


async def test_deleting_takes_its_right_over_the_object() -> None:
    at = await applied_set()
    at.hire("writer", [CREATE, UPDATE, ASSIGN, READ])
    at.hire("eraser", [DELETE])
    at.hire("emil", [DELETE], tags=["emea"])
    at.hire("emil", [READ])
    with pytest.raises(DeniedError) as refused:
        await applied(at, deletions=deleting(TOOLS), by="writer")
    assert refused.value.reason == "RIGHT_MISSING"
    with pytest.raises(DeniedError, match="not within the scope") as refused:
        await applied(at, deletions=deleting(TOOLS), by="emil")
    assert refused.value.reason == "OBJECT_OUT_OF_SCOPE"
    assert actions(await applied(at, deletions=deleting(TOOLS), by="eraser")) == [("tools", Action.DELETED)]


async def test_what_may_not_be_seen_is_as_if_it_were_not_there() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    await applied(at, settings_policy(), tags=["apac"])
    outcome = await applied(at, deletions=deleting(settings_policy()), by="emil")
    assert (actions(outcome), etags(outcome)) == ([("workstations", Action.UNCHANGED)], [("", "")])
    assert len(at.store.objects) == 1


async def test_a_certificate_that_rules_still_name_stays_and_they_are_listed() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    await applied(at, reusable(), TOOLS, tags=["emea"])
    await applied(at, rules_policy("hidden", rule(reusable="vendor")), tags=["apac"])
    with pytest.raises(StateError) as refused:
        await applied(at, rules_policy("new", rule("b", reusable="vendor")), deletions=deleting(reusable()), by="emil")
    assert refused.value.reason == "CERTIFICATE_IN_USE"
    assert "is named by new/b, tools/setup, rules that you may not see" in refused.value.message
    assert refused.value.details == {"users": "new/b\ntools/setup"}
    assert at.store.kept_revision == 2


async def test_a_certificate_goes_with_the_last_policies_that_named_it() -> None:
    at = await applied_set()
    await applied(at, rules_policy("more", rule(reusable="vendor")))
    unnamed = rules_policy("tools", rule())
    await applied(at, unnamed, deletions=deleting(reusable(), rules_policy("more")))
    assert sorted(name for _, name in at.store.objects) == ["tools", "workstations"]


async def applied_changes(at: Desk[MemoryStore]) -> dict[str, tuple[int, int]]:
    kinds = {"vendor": ReusableCertificate, "workstations": SettingsPolicy, "tools": RulesPolicy}
    found = {name: (await at.read(kind, name)).about for name, kind in kinds.items()}
    return {name: (about.change, about.applied_change) for name, about in found.items()}


async def test_what_code_says_is_remembered_of_all_objects_without_changing_them() -> None:
    at = await applied_set()
    assert set((await applied_changes(at)).values()) == {(1, 0)}
    off = settings_policy(enabled=False)
    outcome = await applied(at, reusable(), off, TOOLS, as_code=True)
    assert etags(outcome) == [("1", "1"), ("1", "2"), ("1", "1")]
    assert await applied_changes(at) == {"vendor": (1, 1), "workstations": (2, 2), "tools": (1, 1)}
    await applied(at, settings_policy())
    assert (await applied_changes(at))["workstations"] == (3, 2)
    again = await applied(at, reusable(), settings_policy(), TOOLS, as_code=True)
    assert {action for _, action in actions(again)} == {Action.UNCHANGED}
    assert (await applied_changes(at), at.store.kept_revision) == (
        {"vendor": (1, 1), "workstations": (3, 3), "tools": (1, 1)},
        3,
    )
    assert [each.as_code for each in await revisions_of(at, SettingsPolicy, "workstations")] == [False, True, False]


async def test_a_rehearsal_remembers_nothing() -> None:
    at = await applied_set()
    await applied(at, *SET, as_code=True, validate_only=True)
    assert set((await applied_changes(at)).values()) == {(1, 0)}


async def test_who_may_change_an_object_alone_can_say_that_it_is_as_code_says() -> None:
    at = await applied_set()
    at.hire("creator", [CREATE, READ])
    at.hire("emil", [UPDATE], tags=["emea"])
    at.hire("emil", [READ])
    for by in ("creator", "emil"):
        await applied(at, *SET, as_code=True, by=by)
        assert set((await applied_changes(at)).values()) == {(1, 0)}


async def test_a_name_that_is_used_again_was_never_as_code_says() -> None:
    at = desk()
    await applied(at, settings_policy(), as_code=True)
    await applied(at, deletions=deleting(settings_policy()), as_code=True)
    await applied(at, settings_policy())
    assert (await at.read(SettingsPolicy, "workstations")).about.applied_change == 0


async def test_the_call_names_at_most_ten_thousand_objects_deletions_among_them() -> None:
    deletions = [Deletion("ElevationRulesPolicy", f"p{number}") for number in range(10_000)]
    with pytest.raises(InvalidError, match="at most 10000"):
        await applied(desk(), settings_policy(), deletions=deletions, owner=TEAM)
    expected = [Expected("ElevationRulesPolicy", f"p{number}", "1") for number in range(10_001)]
    with pytest.raises(InvalidError, match="expected: holds 10001 objects"):
        await applied(desk(), expected=expected)


async def test_a_replaced_policy_keeps_when_it_was_as_code_said() -> None:
    at = desk()
    await applied(at, settings_policy(), as_code=True)
    kept = await at.read(SettingsPolicy, "workstations")
    await at.update(replace(kept.content, enabled=False), etag=kept.about.etag)
    about = (await at.read(SettingsPolicy, "workstations")).about
    assert (about.change, about.applied_change) == (2, 1)
