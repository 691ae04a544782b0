"""What follows from the state before is what would be worked out from nothing, and costs what the change touches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation.document import PolicyDocument
from elevation.memberships import MembershipIndex
from elevation.model import ALL_DEVICES, Exclude, FilterMode, Group, GroupType, Include, ReusableCertificate
from services.policy.codec.documents import DocumentMould, MouldMaker
from services.policy.model.delivery import Delivery
from services.policy.model.directory import DirectoryDevice
from services.policy.model.effective import EffectivePolicies
from services.policy.model.objects import Corpus
from services.policy.model.roster import Roster
from services.policy.usecases.documents import PolicyBook
from tests.builders.elevation import certificate
from tests.builders.estates import DEVICES, NAMES, USERS, one_device, one_group, rules_policy, settings_policy
from tests.builders.nesting import nested_groups
from tests.fakes.policy_delivery import (
    DEPROVISION_AFTER,
    Authored,
    FakeDirectories,
    assigned,
    corpus,
    device,
    rules,
    settings,
)

Named = dict[str, Authored]
SETS = 200


@dataclass(frozen=True, slots=True)
class Edit:
    """Put an object or a group in the place of what has its name, or take it away."""

    name: str
    made: Authored | Group | None


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    """Draw the change of one thing."""
    name = draw(st.sampled_from(["s0", "s1", "r0", "r1", "r2", "vendor", *NAMES]))
    if draw(st.sampled_from([False, False, False, True])):
        return Edit(name, None)
    if name == "vendor":
        return Edit(name, ReusableCertificate(name, certificate(draw(st.sampled_from(["vendor", "expired-issuing"])))))
    if name in NAMES:
        return Edit(name, draw(one_group(name)))
    return Edit(name, draw(settings_policy(name)) if name.startswith("s") else draw(rules_policy(name)))


class Estate:
    """Policies, certificates and groups that are changed one by one."""

    def __init__(self) -> None:
        self.corpus = Corpus(0)
        self.groups: dict[str, Group] = {}

    def take(self, edit: Edit) -> None:
        """Change one thing; all else stays the same objects."""
        if edit.name in NAMES:
            self.groups = {name: found for name, found in self.groups.items() if name != edit.name}
            if isinstance(edit.made, Group):
                self.groups[edit.name] = edit.made
            return
        revision = self.corpus.revision + 1
        made = [] if edit.made is None or isinstance(edit.made, Group) else [edit.made]
        new = corpus(*made, revision=revision)
        old = self.corpus
        self.corpus = Corpus(
            revision,
            tuple(each for each in old.settings_policies if each.name != edit.name) + new.settings_policies,
            tuple(each for each in old.rules_policies if each.name != edit.name) + new.rules_policies,
            tuple(each for each in old.certificates if each.name != edit.name) + new.certificates,
        )


@given(st.lists(edits(), max_size=15), st.lists(one_device(), min_size=1, max_size=4), st.data())
def test_what_follows_from_the_state_before_is_what_would_be_worked_out_from_nothing(
    changes: list[Edit], devices: list[DirectoryDevice], data: st.DataObject
) -> None:
    estate = Estate()
    found = EffectivePolicies(estate.corpus, estate.groups)
    for change in changes:
        estate.take(change)
        found, fresh = found.after(estate.corpus, estate.groups), EffectivePolicies(estate.corpus, estate.groups)
        # Not all are asked for in every state: what is not known of the state before is worked out anew.
        for each in data.draw(st.lists(st.sampled_from(devices), unique_by=lambda each: each.device_id)):
            assert found.effective(each) == fresh.effective(each)
            assert found.shape(each) == fresh.shape(each)
            assert found.recipe(found.shape(each)) == fresh.recipe(fresh.shape(each))
            for user in ("", *USERS):
                assert found.settings_policies(each, user) == fresh.settings_policies(each, user)
                assert found.memberships(each, user) == fresh.memberships(each, user)


@given(st.lists(st.tuples(edits(), st.lists(one_device(), max_size=1)), max_size=15))
def test_the_roster_knows_the_shape_of_each_device_whatever_changes(
    changes: list[tuple[Edit, list[DirectoryDevice]]],
) -> None:
    estate, roster = Estate(), Roster()
    devices = {device_id: device(device_id, *USERS) for device_id in DEVICES}
    found = EffectivePolicies(estate.corpus, estate.groups)
    roster.take(found, devices)
    for edit, changed in changes:
        estate.take(edit)
        before = {device_id: roster.shape(device_id) for device_id in devices}
        devices = {**devices, **{each.device_id: each for each in changed}}
        found = found.after(estate.corpus, estate.groups)
        taken = roster.take(found, devices)
        now = {device_id: found.shape(each) for device_id, each in devices.items()}
        assert {device_id: roster.shape(device_id) for device_id in devices} == now
        told = taken.moved.keys() | taken.changed
        assert {device_id for device_id in devices if now[device_id] != before[device_id]} <= told


@given(st.lists(nested_groups(), min_size=1, max_size=5), st.integers(0, 2))
def test_who_is_in_which_group_does_not_depend_on_who_was(states: list[dict[str, Group]], kept: int) -> None:
    index, groups = MembershipIndex(()), dict[str, Group]()
    for state in states:
        groups = {**dict(list(groups.items())[:kept]), **state}
        index, fresh = MembershipIndex(groups.values(), index), MembershipIndex(groups.values())
        assert (index.listed, index.listing, index.types) == (fresh.listed, fresh.listing, fresh.types)
        assert set(index.dynamic) == set(fresh.dynamic)


def lab(number: int) -> str:
    return f"lab-{number}"


class Service:
    """Two hundred sets of devices, each in a lab of its own, and a book that follows and counts what it makes."""

    def __init__(self) -> None:
        devices = [device(f"d{number}", os="windows") for number in range(SETS)]
        twins = [device(f"e{number}", os="windows") for number in range(SETS)]
        labs = [Group(lab(number), GroupType.DEVICE, (f"D{number}", f"E{number}")) for number in range(SETS)]
        self.directories = FakeDirectories(*devices, *twins, groups=labs)
        self._count = 0
        self._authored: Named = {}
        self._revisions: dict[str, int] = {}
        maker = MouldMaker()

        def mould(document: PolicyDocument) -> DocumentMould:
            self._count += 1
            return maker.mould(document)

        self.book = PolicyBook(self.directories, mould, deprovision_after=DEPROVISION_AFTER)
        vendor = ReusableCertificate("vendor", certificate("vendor"))
        signed = rules("signed", lab(1), lab(5), certificate="vendor")
        own = (rules(f"own-{number}", lab(number)) for number in range(SETS))
        self.save(vendor, settings(), rules("common"), rules("three", lab(1), lab(2), lab(3)), signed, *own)
        assert self.made() == SETS
        self.book.news()

    def save(self, *contents: Authored) -> None:
        """Write these, each under the next revision of all."""
        revision = self.book.revision + 1
        self._authored.update({content.name: content for content in contents})
        self._revisions.update({content.name: revision for content in contents})
        made = [corpus(content, revision=self._revisions[name]) for name, content in self._authored.items()]
        self.book.put(
            Corpus(
                revision,
                tuple(each for one in made for each in one.settings_policies),
                tuple(each for one in made for each in one.rules_policies),
                tuple(each for one in made for each in one.certificates),
            )
        )

    def made(self) -> int:
        """Ask for what every device gets; return how many sets were worked out anew for it."""
        before = self._count
        for device_id in self.directories.directory().devices:
            self.book.basis(Delivery(device_id))
        return self._count - before


def in_labs(*numbers: int) -> set[str]:
    return {f"{prefix}{number}" for number in numbers for prefix in "de"}


THREE = rules("three", lab(1), lab(2), lab(3))
NARROWED = replace(
    THREE,
    assignments=replace(
        THREE.assignments, include=(*THREE.assignments.include, Include(lab(7), 'os = "linux"', FilterMode.INCLUDE))
    ),
)


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        ([replace(THREE, rules=(*THREE.rules, replace(THREE.rules[0], name="new")))], [1, 2, 3]),
        ([rules("three", lab(1), lab(2), lab(4))], [1, 2, 3, 4]),
        ([replace(THREE, assignments=replace(THREE.assignments, exclude=(Exclude(lab(2)),)))], [1, 2, 3]),
        ([NARROWED], [1, 2, 3]),
        ([rules("fresh", lab(9), "lab-of-nobody")], [9]),
        ([settings("stricter", lab(8), enabled=False)], [8]),
        ([ReusableCertificate("vendor", certificate("expired-issuing"))], [1, 5]),
        ([ReusableCertificate("unused", certificate("expired-issuing"))], []),
        ([rules("nowhere")], range(SETS)),
    ],
    ids=[
        "rules",
        "other labs",
        "an exclude",
        "a filter that holds for nobody",
        "a policy that comes, with a group that nobody knows",
        "settings that meet others",
        "a certificate",
        "a certificate that no rule names",
        "a policy for all",
    ],
)
def test_a_change_works_out_anew_only_the_sets_that_it_reached_or_reaches(
    change: Sequence[Authored], touched: Sequence[int]
) -> None:
    service = Service()
    service.save(*change)
    assert service.made() == len(touched)
    assert service.book.news() == in_labs(*touched)
    assert service.made() == 0


def renamed(service: Service) -> None:
    service.directories.group(Group("lab-of-nobody", GroupType.DEVICE, ("D1",)))


def moved(service: Service) -> None:
    first, second = Group(lab(10), GroupType.DEVICE, ("E10",)), Group(lab(11), GroupType.DEVICE, ("D10", "D11", "E11"))
    service.directories.group(first, second)


def joined(service: Service) -> None:
    service.directories.group(Group(lab(11), GroupType.DEVICE, ("D10", "D11", "E11")))


def nested(service: Service) -> None:
    service.directories.group(Group(lab(11), GroupType.DEVICE, ("D11", "E11"), groups=(lab(12),)))


@pytest.mark.parametrize(
    ("change", "made", "news"),
    [(renamed, 0, set()), (moved, 0, {"d10"}), (joined, 1, {"d10"}), (nested, 1, in_labs(12))],
    ids=["of a group that no policy names", "to a set that is there", "to a set that is new", "with a whole group"],
)
def test_a_change_of_groups_works_out_anew_only_sets_that_were_not_there(
    change: Callable[[Service], None], made: int, news: set[str]
) -> None:
    service = Service()
    change(service)
    assert service.made() == made
    assert service.book.news() == news


def test_a_policy_that_is_assigned_by_a_filter_to_whom_it_reached_before_is_news_for_its_revision_alone() -> None:
    service = Service()
    service.save(rules("common", assignments=assigned(ALL_DEVICES, where='os = "windows"')))
    assert service.made() == SETS
    service.directories.put(device("d1", os="windows"))
    assert service.made() == 0


def test_what_applies_by_a_reach_stays_the_same_object_where_nothing_of_it_changed() -> None:
    groups = {name: Group(name, GroupType.DEVICE, (name.upper(),)) for name in ("d1", "d2")}
    old = EffectivePolicies(corpus(settings(), rules("a", "d1"), rules("b", "d2")), groups)
    before = [old.document(device(name)).any_user for name in ("d1", "d2")]
    # The filter makes all reaches other ones; what settled policies come to by them is the same still.
    changed = rules("a", assignments=assigned("d1", where='os = "linux"'))
    new = old.after(corpus(settings(), changed, rules("b", "d2")), groups)
    now = [new.document(device(name)).any_user for name in ("d1", "d2")]
    assert now[1] is before[1]
    assert (before[0].device_targeted, now[0].device_targeted) == (("a",), ())
    assert now[0].settings is before[0].settings


def test_a_group_that_comes_or_goes_settles_anew_whom_its_policies_exclude() -> None:
    authored = corpus(rules("tools", assignments=assigned(ALL_DEVICES, exclude=["kiosks"])))
    without = EffectivePolicies(authored, {})
    assert without.document(device()).rules_policies == ()
    known = without.after(authored, {"kiosks": Group("kiosks", GroupType.DEVICE)})
    assert known.document(device()).rules_policies != ()
    assert known.after(authored, {}).document(device()).rules_policies == ()
