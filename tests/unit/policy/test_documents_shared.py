"""Documents whose work is shared are those that would be made one by one, whatever changes in between."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from elevation.codec.document import encode_document
from elevation.document import PolicyDocument
from elevation.model import (
    Group,
    GroupType,
)
from services.policy.codec.documents import DocumentMould, MouldMaker
from services.policy.model.bundle import Bundle
from services.policy.model.delivery import Delivery, Desired
from services.policy.model.directory import Directory, DirectoryDevice
from services.policy.model.effective import EffectivePolicies, desired_of
from services.policy.usecases.documents import PolicyBook
from tests.builders.estates import DEVICES, authored, groups, one_device
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import (
    DEPROVISION_AFTER,
    Authored,
    FakeDirectories,
    corpus,
    device,
    rules,
    settings,
)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is authored or known anew; what is None stays."""

    authored: tuple[Authored, ...] | None = None
    groups: tuple[Group, ...] | None = None
    devices: tuple[DirectoryDevice, ...] = ()
    lost: Mapping[str, bool] = field(default_factory=dict)
    """Which devices lost their settings, from then on."""


CHANGES = st.lists(
    st.builds(
        Change,
        authored=st.none() | authored(),
        groups=st.none() | groups(),
        devices=st.lists(one_device(), max_size=2).map(tuple),
        lost=st.dictionaries(st.sampled_from(DEVICES), st.booleans(), max_size=1),
    ),
    min_size=1,
    max_size=5,
)


@dataclass(frozen=True, slots=True)
class Made:
    """A document and all that it is known by."""

    content: bytes
    sha256: bytes
    desired: Desired
    bundle: Bundle


class Fleet:
    """Devices, what is authored for them, and a book that follows."""

    def __init__(self) -> None:
        self.directories = FakeDirectories(*(device(device_id) for device_id in DEVICES))
        self.made = 0
        maker = MouldMaker()

        def mould(document: PolicyDocument) -> DocumentMould:
            self.made += 1
            return maker.mould(document)

        self.book = PolicyBook(self.directories, mould, deprovision_after=DEPROVISION_AFTER)
        self.lost: dict[str, bool] = {}
        self._authored: Sequence[Authored] = ()
        self.change(Change(authored=()))

    @property
    def directory(self) -> Directory:
        """Return the newest directory."""
        return self.directories.directory()

    def change(self, change: Change) -> None:
        """Take in what is authored or known anew."""
        self.lost.update(change.lost)
        if change.authored is not None:
            self.book.put(corpus(*change.authored, revision=self.book.revision + 1))
        if change.groups is not None:
            found = {group.name: group for group in change.groups}
            self.directories.known = Directory(self.directory.revision + 1, self.directory.devices, found)
        if change.devices:
            self.directories.put(*change.devices)

    def shared(self) -> dict[str, Made]:
        """Make all documents as the service does."""
        made = {}
        for device_id in self.directory.devices:
            basis = self.book.basis(Delivery(device_id, lost=self._since(device_id)))
            mark = self.book.mark(basis)
            made[device_id] = Made(self.book.content(basis), mark.sha256, mark.desired, mark.bundle)
        return made

    def one_by_one(self) -> dict[str, Made]:
        """Make all documents from nothing but what is authored and known now."""
        assert self.book.corpus is not None
        made = {}
        for device_id, known in self.directory.devices.items():
            since = self._since(device_id)
            leaves = since and since + DEPROVISION_AFTER
            found = EffectivePolicies(self.book.corpus, self.directory.groups).effective(known, leaves=leaves)
            content = encode_document(found.document).SerializeToString(deterministic=True)
            digest = hashlib.sha256(content).digest()
            made[device_id] = Made(content, digest, desired_of(found.document), found.bundle)
        return made

    def _since(self, device_id: str) -> datetime | None:
        return NOW if self.lost.get(device_id) else None


@given(CHANGES)
def test_shared_documents_are_those_made_one_by_one(changes: list[Change]) -> None:
    fleet = Fleet()
    for change in changes:
        fleet.change(change)
        assert fleet.shared() == fleet.one_by_one()


@given(CHANGES)
def test_what_is_no_news_of_a_device_leaves_its_document_as_it_was(changes: list[Change]) -> None:
    fleet = Fleet()
    fleet.book.news()
    before = fleet.shared()
    for change in changes:
        fleet.change(replace(change, lost={}))
        news, now = fleet.book.news(), fleet.shared()
        assert {device_id for device_id in now if now[device_id] != before.get(device_id)} <= news
        before = now


def fleet_of(*contents: Authored, members: Sequence[str]) -> Fleet:
    """Create policies for four devices, of which some are in a group, and hear the first news."""
    fleet = Fleet()
    fleet.change(Change(authored=contents, groups=(Group("lab", GroupType.DEVICE, tuple(members)),)))
    fleet.book.news()
    fleet.shared()
    return fleet


def test_a_policy_for_a_group_is_news_to_its_members() -> None:
    fleet = fleet_of(rules("tools", "lab"), members=["D1", "D2"])
    fleet.change(Change(authored=(rules("tools", "lab"),)))
    assert fleet.book.news() == {"d1", "d2"}


def test_a_member_that_joins_or_leaves_a_group_is_news_and_nobody_else() -> None:
    fleet = fleet_of(settings(), rules("tools", "lab"), members=["D1", "D2"])
    fleet.change(Change(groups=(Group("lab", GroupType.DEVICE, ("D2", "D3")),)))
    assert fleet.book.news() == {"d1", "d3"}
    assert fleet.book.news() == frozenset()


def test_a_group_that_no_policy_names_is_news_to_nobody() -> None:
    fleet = fleet_of(settings(), members=["D1"])
    fleet.change(Change(groups=(Group("lab", GroupType.DEVICE, ("D1", "D3")), Group("some", GroupType.USER, ("ann",)))))
    assert fleet.book.news() == frozenset()


def test_a_user_who_joins_a_group_is_news_to_the_devices_of_that_user() -> None:
    fleet = fleet_of(rules("tools", "staff"), members=())
    fleet.change(Change(devices=(device("d2", "ann"), device("d3", "ann", "bob"))))
    assert fleet.book.news() == {"d2", "d3"}
    fleet.change(Change(groups=(Group("staff", GroupType.USER, ("ann",)),)))
    assert fleet.book.news() == {"d2", "d3"}
    fleet.shared()
    fleet.change(Change(groups=(Group("staff", GroupType.USER, ("ann", "bob")),)))
    assert fleet.book.news() == {"d3"}
