"""What objects were: every change leaves a revision, seen by who may see the newest state."""

import pytest

from elevation.model import ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.errors import InvalidError, NotFoundError
from services.policy.model.difference import FieldChangeKind
from services.policy.model.objects import Action
from services.policy.usecases import revisions
from services.policy.usecases.scope import READ
from tests.builders.applying import applied, deleting, revision_at, revisions_of, rolled_back
from tests.builders.authoring import Desk, desk
from tests.builders.policy import included, reusable, rule, rules_policy, settings_policy
from tests.fakes.clock import NOW
from tests.fakes.policy import MemoryStore

BEYOND = 2**63


async def lived() -> Desk[MemoryStore]:
    """Make, change, assign and delete a policy, and make another one under its name."""
    at = desk()
    at.hire("emil")
    await applied(at, settings_policy(), by="emil")
    await applied(at, settings_policy(enabled=False))
    await applied(at, settings_policy(enabled=False, assignments=included("laptops")))
    await applied(at, deletions=deleting(settings_policy()))
    await applied(at, settings_policy(description="again"), as_code=True)
    return at


async def test_every_change_leaves_a_revision_newest_first() -> None:
    found = await revisions_of(await lived(), SettingsPolicy, "workstations")
    assert [(each.change, each.action, each.author, each.as_code) for each in found] == [
        (5, Action.CREATED, "user:root", True),
        (4, Action.DELETED, "user:root", False),
        (3, Action.ASSIGNED, "user:root", False),
        (2, Action.UPDATED, "user:root", False),
        (1, Action.CREATED, "user:emil", False),
    ]
    assert {each.time for each in found} == {NOW}
    assert {each.scope_tags for each in found} == {frozenset({"default"})}


async def test_a_revision_holds_the_object_as_it_was() -> None:
    at = await lived()
    for change, content in {
        1: settings_policy(),
        2: settings_policy(enabled=False),
        3: settings_policy(enabled=False, assignments=included("laptops")),
        4: settings_policy(enabled=False, assignments=included("laptops")),
        5: settings_policy(description="again"),
        0: settings_policy(description="again"),
    }.items():
        past = await revision_at(at, SettingsPolicy, "workstations", change)
        assert (past.stored.content, past.stored.about.etag) == (content, "")
        assert (past.stored.about.labels, past.revision.change) == ({"owner": "team"}, change or 5)
        assert past.deleted is (change == 4)


async def test_a_revision_tells_who_made_the_object_that_it_was() -> None:
    at = await lived()
    makers = {1: "user:emil", 3: "user:emil", 4: "user:emil", 5: "user:root"}
    for change, maker in makers.items():
        assert (await revision_at(at, SettingsPolicy, "workstations", change)).stored.about.created_by == maker


async def test_what_never_was_is_not_found() -> None:
    at = await lived()
    for change in (6, BEYOND, 2 * BEYOND - 1):
        with pytest.raises(NotFoundError, match="has no revision"):
            await revision_at(at, SettingsPolicy, "workstations", change)
    with pytest.raises(NotFoundError, match="never was"):
        await revisions_of(at, RulesPolicy, "workstations")
    with pytest.raises(NotFoundError, match="never was"):
        await revisions_of(at, SettingsPolicy, "nobody")


async def test_who_sees_the_newest_state_sees_all_of_them_and_nobody_else_any() -> None:
    at = desk()
    at.hire("emil", tags=["emea"])
    at.hire("anna", tags=["apac"])
    await applied(at, settings_policy(), tags=["emea"])
    await applied(at, settings_policy(enabled=False), tags=["apac"])
    assert len(await revisions_of(at, SettingsPolicy, "workstations", by="anna")) == 2
    assert (await revision_at(at, SettingsPolicy, "workstations", 1, by="anna")).stored.content == settings_policy()
    for change in (0, 1, 2):
        with pytest.raises(NotFoundError, match="never was"):
            await revision_at(at, SettingsPolicy, "workstations", change, by="emil")
    await applied(at, deletions=deleting(settings_policy()))
    assert len(await revisions_of(at, SettingsPolicy, "workstations", by="anna")) == 3
    with pytest.raises(NotFoundError):
        await revisions_of(at, SettingsPolicy, "workstations", by="emil")


async def test_pages_of_revisions_follow_one_another() -> None:
    at = await lived()
    permit = at.author("root", READ).permit
    seen: list[int] = []
    token = ""
    for _ in range(3):
        page = await revisions.list_revisions(
            at.store, SettingsPolicy, "workstations", permit=permit, page_size=2, page_token=token
        )
        seen += [each.change for each in page.items]
        token = page.next_token
    assert (seen, token) == ([5, 4, 3, 2, 1], "")
    first = await revisions.list_revisions(
        at.store, SettingsPolicy, "workstations", permit=permit, page_size=2, page_token=""
    )
    await applied(at, rules_policy("workstations"))
    with pytest.raises(InvalidError, match="page_token"):
        await revisions.list_revisions(
            at.store, RulesPolicy, "workstations", permit=permit, page_size=2, page_token=first.next_token
        )


async def differing(at: Desk[MemoryStore], earlier: int, later: int) -> revisions.Difference:
    permit = at.author("root", READ).permit
    return await revisions.diff_revisions(
        at.store, SettingsPolicy, "workstations", earlier=earlier, later=later, permit=permit
    )


async def test_revisions_are_compared_with_the_one_before_unless_another_is_named() -> None:
    at = await lived()
    for asked, compared in {(0, 0): (4, 5), (0, 3): (2, 3), (1, 0): (1, 5), (3, 1): (3, 1)}.items():
        found = await differing(at, *asked)
        assert found.earlier is not None
        assert (found.earlier.change, found.later.change) == compared
    changes = (await differing(at, 0, 2)).changes
    assert [(change.kind, change.field, change.before, change.after) for change in changes] == [
        (FieldChangeKind.CHANGED, "enabled", "true", "false")
    ]
    assert (await differing(at, 0, 4)).changes == ()


async def test_before_the_first_revision_there_was_nothing() -> None:
    found = await differing(await lived(), 0, 1)
    assert found.earlier is None
    assert {change.kind for change in found.changes} == {FieldChangeKind.ADDED}
    with pytest.raises(NotFoundError):
        await differing(await lived(), 9, 1)


async def test_the_reason_of_a_call_stands_in_every_revision_that_it_makes() -> None:
    at = desk()
    await applied(at, reusable(), rules_policy("tools", rule(reusable="vendor")), reason="ticket 7")
    await rolled_back(at, ReusableCertificate, "vendor", 1)
    await applied(at, deletions=deleting(rules_policy("tools"), reusable()), reason="ticket 8")
    found = [*await revisions_of(at, ReusableCertificate, "vendor"), *await revisions_of(at, RulesPolicy, "tools")]
    assert [each.reason for each in found] == ["ticket 8", "ticket 7", "ticket 8", "ticket 7"]
