"""Make documents of devices, from the newest policies and the newest directory."""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta

from elevation.model import ReportingScope
from services._chassis.errors import UnavailableError
from services.policy.model.approved import moved_by_device
from services.policy.model.conflicts import conflicts_of
from services.policy.model.delivery import Delivery, Desired
from services.policy.model.directory import Directory, DirectoryDevice
from services.policy.model.effective import Effective, EffectivePolicies, Recipe, Shape, desired_of, scope_of
from services.policy.model.objects import Corpus
from services.policy.model.requests import ElevationRequest, grants_on
from services.policy.model.roster import Roster
from services.policy.ports import Directories
from services.policy.usecases.bases import Basis, MakeMould, Mark, Shared

MOST_KEPT = 2 * 1024 * 1024
"""Bytes of documents that were just made and are about to be sent; more are made again."""


class PolicyBook:
    """Know what applies to each device now; devices that are alike share the work, and a change costs what it touches."""

    def __init__(
        self,
        directories: Directories,
        mould: MakeMould,
        *,
        deprovision_after: timedelta,
    ) -> None:
        self._directories = directories
        self._mould = mould
        self._deprovision_after = deprovision_after
        self._corpus: Corpus | None = None
        self._revision = 0
        self._approved: dict[str, tuple[ElevationRequest, ...]] = {}
        """What is approved, by the device."""
        self._taken: tuple[ElevationRequest, ...] = ()
        """The same, as it was read."""
        self._directory = Directory()
        self._effective: EffectivePolicies | None = None
        self._roster = Roster()
        self._recipes: dict[Shape, Recipe] = {}
        self._shared: dict[Recipe, Shared] = {}
        self._shared_by: dict[Shape, Shared] = {}
        self._marks: dict[str, tuple[Basis, Mark, int]] = {}
        """What the document of each device rested on the last time, what it is known by, and in which age that was so."""
        self._age = 0
        """Moves with everything that a basis is made of, but for the delivery."""
        self._made: dict[str, tuple[Basis, bytes]] = {}
        self._size = 0
        self._news: set[str] = set()

    @property
    def revision(self) -> int:
        """Return the revision of what is authored; 0 if it was not read yet."""
        return self._revision

    @property
    def corpus(self) -> Corpus | None:
        """Return what is authored; None if it was not read yet."""
        return self._corpus

    @property
    def ready(self) -> bool:
        """Tell whether policies and a directory were received."""
        try:
            self._directories.directory()
        except UnavailableError:
            return False
        return self._corpus is not None

    def put(self, corpus: Corpus) -> bool:
        """Take up what is authored now; tell whether that is news."""
        if self._corpus is not None and self._revision == corpus.revision:
            return False
        if self._corpus is None or not self._corpus.is_authored_as(corpus):
            self._corpus = corpus
        self._revision = corpus.revision
        self._take_approved(corpus.approved)
        return True

    def approved(self) -> Iterator[ElevationRequest]:
        """Give what is approved, as it was read last."""
        for requests in self._approved.values():
            yield from requests

    def news(self) -> frozenset[str]:
        """Return the devices that changed, or may have another document, since this was asked last; none until `ready`."""
        if not self.ready:
            return frozenset()
        self.effective()
        news, self._news = frozenset(self._news), set()
        return news

    def enrolled(self, among: Collection[str] | None = None) -> tuple[str, ...]:
        """Return those of the devices, or of all, that have credentials, sorted.

        Raises UnavailableError before the first directory.
        """
        devices = self._directories.directory().devices
        asked = devices.keys() if among is None else devices.keys() & among
        return tuple(sorted(device_id for device_id in asked if devices[device_id].enrolled))

    def has_lost_credentials(self, device_id: str) -> bool:
        """Tell whether the device is known and is enrolled no more."""
        try:
            device = self._directories.directory().devices.get(device_id)
        except UnavailableError:
            return False
        return device is not None and not device.enrolled

    def life(self, device_id: str) -> datetime | None:
        """Return when a device enrolled last. None: that is not known."""
        device = self._directories.directory().devices.get(device_id)
        return device.life if device else None

    def directory(self) -> Directory:
        """Return the newest directory. Raises UnavailableError before the first."""
        return self._directories.directory()

    def effective(self) -> EffectivePolicies:
        """Return what applies to whom now. Raises UnavailableError while anything of it is not known."""
        directory = self._directories.directory()
        if self._corpus is None:
            raise UnavailableError("the policies were not read yet; try again", reason="POLICIES_NOT_READ")
        effective = self._effective
        if effective is None:
            effective = EffectivePolicies(self._corpus, directory.groups)
        elif not effective.rests_on(self._corpus, directory.groups):
            effective = effective.after(self._corpus, directory.groups)
        if effective is not self._effective or directory is not self._directory:
            self._take_up(effective, directory)
        return effective

    def each_shared(self, devices: Iterable[DirectoryDevice]) -> Iterator[tuple[DirectoryDevice, Shared]]:
        """Give devices of the newest directory with what they have in common with others. Raises as `effective` does."""
        effective = self.effective()
        for device in devices:
            yield device, self._shared_of(effective, device)

    def wish(self, device_id: str) -> tuple[Desired, ReportingScope] | None:
        """Return what the settings of a device want, and let be reported; None while that is not known."""
        try:
            effective = self.effective()
        except UnavailableError:
            return None
        known = self._marks.get(device_id)
        if known is not None and known[2] == self._age:
            return known[1].desired, known[1].scope
        device = self._directories.directory().devices.get(device_id)
        if device is None:
            return None
        shared = self._shared_of(effective, device)
        return shared.desired, shared.scope

    def basis(self, delivery: Delivery) -> Basis:
        """Return what the device's document rests on. Raises UnavailableError while anything of it is not known."""
        effective = self.effective()
        known = self._marks.get(delivery.device_id)
        if known is not None and known[2] == self._age and known[0].lost == delivery.lost:
            return known[0]
        device = self._directories.directory().devices.get(delivery.device_id)
        if device is None:
            raise UnavailableError("the directory does not show this device; try again", reason="DEVICE_NOT_KNOWN_YET")
        grants = grants_on(device, self._approved.get(device.device_id, ()))
        return Basis(self._shared_of(effective, device), device, delivery.lost, grants)

    def expected(self, device_id: str) -> Basis:
        """Return what the device's document rests on, if its settings are where they were the last time. Raises as `basis` does."""
        known = self._marks.get(device_id)
        return self.basis(Delivery(device_id, lost=known[0].lost if known else None))

    def mark(self, basis: Basis) -> Mark:
        """Return what the document is known by; it is made only if the device's basis is another one than the last time."""
        known = self._marks.get(basis.device.device_id)
        if known is not None and known[0] is basis:
            return known[1]
        if known is not None and known[0] == basis:
            mark = known[1]
        else:
            content = self._make(basis)
            self._keep(basis, content)
            shared = basis.shared
            mark = Mark(hashlib.sha256(content).digest(), shared.desired, shared.scope, shared.bundle)
        self._marks[basis.device.device_id] = basis, mark, self._age
        return mark

    def content(self, basis: Basis) -> bytes:
        """Return the document as it is sent."""
        kept = self._made.pop(basis.device.device_id, None)
        if kept is not None:
            self._size -= len(kept[1])
            if kept[0] == basis:
                return kept[1]
        return self._make(basis)

    def _keep(self, basis: Basis, content: bytes) -> None:
        """Keep the document until it is sent, if there is room: what nobody asked for goes first."""
        device_id = basis.device.device_id
        self._size += len(content) - len(self._made.pop(device_id, (basis, b""))[1])
        self._made[device_id] = basis, content
        while self._size > MOST_KEPT:
            _, old = self._made.pop(next(iter(self._made)))
            self._size -= len(old)

    def _make(self, basis: Basis) -> bytes:
        """Make the document.

        A device that loses its settings is told at once when its component goes, long before the directory says it: a
        document that named no time would have it removed now.
        """
        leaves = None if basis.lost is None else basis.lost + self._deprovision_after
        time = basis.device.deprovision_time or leaves if basis.shared.ends else None
        return basis.shared.mould.fill(basis.device, time, basis.grants)

    def _take_approved(self, requests: tuple[ElevationRequest, ...]) -> None:
        """Note what is approved now, and the devices whose grants are others than before."""
        if requests is self._taken:
            return
        taken, self._taken = self._taken, requests
        changed = set[str]()
        for device_id, after in moved_by_device(taken, requests, self._approved).items():
            if self._approved.get(device_id, ()) != after:
                changed.add(device_id)
                self._approved[device_id] = after
                if not after:
                    del self._approved[device_id]
        for device_id in changed & self._marks.keys():
            basis, mark, _ = self._marks[device_id]
            self._marks[device_id] = basis, mark, -1  # of no age: what it rests on is to be looked at anew
        self._news |= changed

    def _take_up(self, effective: EffectivePolicies, directory: Directory) -> None:
        """Work from the newest policies and the newest directory; note whose document may be another one."""
        self._age += 1
        taken = self._roster.take(effective, directory.devices)
        before, anew = self._recipes, effective is not self._effective
        self._effective, self._directory = effective, directory
        self._news |= taken.changed
        if anew:
            self._look_anew(effective)
        for device_id, shape in taken.moved.items():
            if before.get(shape) != self._recipe(effective, self._roster.shape(device_id)):
                self._news.add(device_id)
        for device_id in self._marks.keys() - directory.devices.keys():
            del self._marks[device_id]

    def _look_anew(self, effective: EffectivePolicies) -> None:
        """Look at what documents are made of by other policies; where that is what it was, all made of it stays."""
        before = self._recipes
        self._recipes = {shape: effective.recipe(shape) for shape in self._roster.shapes}
        for shape, recipe in self._recipes.items():
            if shape in before and before[shape] != recipe:
                self._news.update(self._roster.shapes[shape])
        kept = ((recipe, self._shared.get(recipe)) for recipe in self._recipes.values())
        self._shared = {recipe: shared for recipe, shared in kept if shared is not None}
        self._shared_by = {}

    def _recipe(self, effective: EffectivePolicies, shape: Shape) -> Recipe:
        found = self._recipes.get(shape)
        if found is None:
            found = self._recipes[shape] = effective.recipe(shape)
        return found

    def _shared_of(self, effective: EffectivePolicies, device: DirectoryDevice) -> Shared:
        """Return what a device has in common with those that are like it."""
        shape = self._roster.shape(device.device_id)
        found = self._shared_by.get(shape)
        if found is None:
            recipe = self._recipe(effective, shape)
            found = self._shared.get(recipe) or self._make_shared(effective.effective(device))
            self._shared[recipe] = self._shared_by[shape] = found
        return found

    def _make_shared(self, made: Effective) -> Shared:
        return Shared(
            self._mould(made.document),
            desired_of(made.document),
            scope_of(made.document),
            made.bundle,
            conflicting=bool(conflicts_of(made.document)),
            ends=made.ends,
        )
