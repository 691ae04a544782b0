"""Drafts on top of what is stored: what a save would refuse is refused, and nothing else changes."""

from dataclasses import replace

import pytest

from elevation.lint.findings import Finding, Severity, Subject
from elevation.model import Group, GroupType, ReusableCertificate, RulesPolicy
from services._chassis.errors import InvalidError
from services.policy.model.drafts import Draft
from services.policy.model.objects import AnyContent, kind_of
from services.policy.usecases.analysis.drafted import Deletion, Drafted, DraftedGroup, Drafting, Overlay, problems_of
from services.policy.usecases.means import Means
from tests.builders.effort import effort_of
from tests.builders.elevation import HASH, certificate, rule
from tests.builders.rollouts import ALL, World
from tests.fakes.clock import NOW
from tests.fakes.policy import FakeLinting
from tests.fakes.policy_delivery import FakeDirectories, device, group, rules, settings, stored

VENDOR = ReusableCertificate("vendor", certificate("vendor"))


class Table:
    """Lay drafts over a world."""

    def __init__(self) -> None:
        outer = Group("outer", GroupType.DEVICE, groups=("inner",))
        self.world = World(FakeDirectories(device("d1"), groups=[group("inner", "D1"), outer]))
        self.linting = FakeLinting()
        self.world.author(stored(settings()), stored(rules("signed", certificate="vendor")), certificates=[VENDOR])

    def drafting(self, *, most_rules: int = 100) -> Drafting:
        means = Means(directories=self.world.directories, linting=self.linting, most_rules=most_rules)
        return Drafting(self.world.store, self.world.book, self.world.caught_up, means)

    async def lay(self, overlay: Overlay, *, most_rules: int = 100) -> Drafted:
        drafting = self.drafting(most_rules=most_rules)
        return await drafting.drafted(await drafting.stored(), overlay, ALL, now=NOW)

    async def problems(self, overlay: Overlay, *, most_rules: int = 100) -> dict[str, str]:
        with pytest.raises(InvalidError) as refused:
            await self.lay(overlay, most_rules=most_rules)
        return {problem.field: problem.message for problem in refused.value.problems}


def draft(content: AnyContent, place: str = "draft.x[0]") -> Draft[AnyContent]:
    return Draft(place=place, content=content)


def deletion(kind: type[AnyContent], name: str, place: str = "draft.deletions[0]") -> Deletion:
    return Deletion(place=place, kind=kind, name=name)


def regrouped(*groups: Group) -> Overlay:
    return Overlay(groups=[DraftedGroup(place=f"g[{number}]", group=each) for number, each in enumerate(groups)])


async def test_without_a_draft_nothing_is_worked_out_anew() -> None:
    table = Table()
    assert (await table.lay(Overlay())).effective is table.world.book.effective()


async def test_a_draft_changes_what_it_names_and_nothing_that_is_kept() -> None:
    table = Table()
    before = table.world.book.corpus
    new = rules("brand-new", rules=(rule(file_hash=HASH),))
    there = await table.lay(Overlay(drafts=[draft(new)], deletions=[deletion(RulesPolicy, "signed")]))
    assert [found.name for found in there.corpus.rules_policies] == ["brand-new"]
    assert there.corpus.rules_policies[0].about.revision == 0
    assert before is not None
    assert there.corpus.settings_policies == before.settings_policies
    assert table.world.book.corpus is before


async def test_a_description_is_no_change_of_what_decides() -> None:
    table = Table()
    told = replace(rules("signed", certificate="vendor"), description="as before")
    there = await table.lay(Overlay(drafts=[draft(told)]))
    assert there.corpus.rules_policies[0].about.revision == 1


async def test_groups_of_a_draft_count_for_policies_and_for_membership() -> None:
    table = Table()
    fresh = Group("fresh", GroupType.DEVICE, ("D1",))
    overlay = replace(regrouped(fresh), drafts=[draft(rules("for-fresh", "fresh"))])
    there = await table.lay(overlay)
    document = there.effective.document(there.directory.devices["d1"])
    assert "for-fresh" in document.revisions
    assert set(await table.problems(replace(overlay, groups=()))) == {"draft.x[0].assignments.include[0].group"}


async def test_errors_of_lint_and_too_many_rules_are_refused_as_by_a_save() -> None:
    table = Table()
    subject = Subject(kind_of(RulesPolicy).document, "bad", "rule")
    table.linting.found = [
        Finding(
            check="L15",
            severity=Severity.ERROR,
            subject=subject,
            path="rules[0].detection.fileName",
            message="is bad",
            why="so",
            remedy="mend it",
        )
    ]
    many = tuple(rule(f"r{number}", file_hash=HASH) for number in range(3))
    found = await table.problems(Overlay(drafts=[draft(rules("bad", rules=many))]), most_rules=2)
    assert set(found) == {"draft.x[0].rules", "draft.x[0].rules[0].detection.file_name"}


async def test_a_certificate_that_rules_name_still_cannot_go() -> None:
    table = Table()
    gone = deletion(ReusableCertificate, "vendor")
    assert await table.problems(Overlay(deletions=[gone])) == {
        "draft.deletions[0].name": "is named by signed; change those rules too"
    }
    both = Overlay(deletions=[gone, deletion(RulesPolicy, "signed", "draft.deletions[1]")])
    assert (await table.lay(both)).corpus.certificates == ()
    naming = draft(rules("another", certificate="vendor"))
    found = await table.problems(replace(both, drafts=[naming]))
    assert set(found) == {"draft.deletions[0].name", "draft.x[0].rules[0].detection.certificate.reusable"}


async def test_a_group_that_another_nests_or_that_there_is_not_cannot_go() -> None:
    table = Table()
    gone = Deletion(place="draft.deletions[0]", kind=Group, name="inner")
    assert await table.problems(Overlay(deletions=[gone])) == {
        "draft.deletions[0].name": 'is nested by "outer"; take it out of there too'
    }
    both = Overlay(deletions=[gone, Deletion(place="draft.deletions[1]", kind=Group, name="outer")])
    assert (await table.lay(both)).directory.groups == {}
    unknown = Deletion(place="draft.deletions[0]", kind=Group, name="nobody")
    assert await table.problems(Overlay(deletions=[unknown])) == {
        "draft.deletions[0].name": 'there is no group "nobody"; list them for their names'
    }
    redrawn = replace(regrouped(Group("outer", GroupType.DEVICE, ("D1",))), deletions=[gone])
    assert set((await table.lay(redrawn)).directory.groups) == {"outer"}


async def test_nothing_stands_twice_in_a_draft() -> None:
    table = Table()
    first, second = draft(rules("twice"), "draft.rules_policies[0]"), draft(rules("twice"), "draft.rules_policies[1]")
    found = await table.problems(Overlay(drafts=[first, second], deletions=[deletion(RulesPolicy, "twice")]))
    assert set(found) == {"draft.rules_policies[1].metadata.name", "draft.deletions[0].name"}


async def test_a_new_name_that_looks_like_another_is_refused() -> None:
    table = Table()
    alike = rules("\u0430\u0435\u043e")  # Cyrillic, and looks like "aeo"
    assert set(await table.problems(Overlay(drafts=[draft(rules("aeo"), "draft.a"), draft(alike, "draft.b")]))) == {
        "draft.a.metadata.name",
        "draft.b.metadata.name",
    }
    assert (await table.lay(Overlay(drafts=[draft(alike)]))).corpus.rules_policies


@pytest.mark.parametrize(
    ("drafted", "fields"),
    [
        (Group("inner", GroupType.USER), {"g[0].type"}),
        (Group("inner", GroupType.DEVICE, groups=("new",)), {"g[0].groups", "g[0].groups[0]"}),
        (Group("other", GroupType.DEVICE, groups=("outer",)), {"g[0].groups[0]"}),
        (Group("other", GroupType.DEVICE, filter="nonsense"), {"g[0].filter"}),
        (Group("all-users", GroupType.USER), {"g[0].name"}),
    ],
)
async def test_groups_that_no_save_would_take_are_refused(drafted: Group, fields: set[str]) -> None:
    assert set(await Table().problems(regrouped(drafted))) == fields


async def test_a_deletion_names_some_of_the_policies_that_name_a_certificate() -> None:
    table = Table()
    table.world.author(*(stored(rules(f"r{n:02}", certificate="vendor")) for n in range(30)), certificates=[VENDOR])
    found = await table.problems(Overlay(deletions=[deletion(ReusableCertificate, "vendor")]))
    assert "r00, r01" in found["draft.deletions[0].name"]
    assert "r19; change" in found["draft.deletions[0].name"]


async def test_many_deletions_of_one_certificate_take_little_more_than_one() -> None:
    table = Table()
    table.world.author(*(stored(rules(f"r{n}", certificate="vendor")) for n in range(1000)), certificates=[VENDOR])
    there = await table.drafting().stored()

    def effort(times: int) -> int:
        named = [deletion(ReusableCertificate, "vendor", f"draft.deletions[{n}]") for n in range(times)]
        return effort_of(lambda: list(problems_of(Overlay(deletions=named), there, ALL, most_rules=100)))

    assert effort(500) - effort(1) < 500 * 100, "each looks its thousand policies up no more"
