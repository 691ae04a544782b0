"""Make documents of devices, from the newest policies and the newest directory."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from elevation.document import PolicyDocument
from elevation.model import Group
from services._chassis.errors import UnavailableError
from services.policy.model.bundle import Bundle
from services.policy.model.delivery import Delivery, Desired
from services.policy.model.directory import DirectoryDevice
from services.policy.model.effective import Effective, EffectivePolicies, desired_of
from services.policy.model.objects import Corpus
from services.policy.ports import Directories

Encode = Callable[[PolicyDocument], bytes]
"""Turns a document into the bytes that are sent; the same document gives the same bytes."""


@dataclass(frozen=True, slots=True)
class Basis:
    """Hold all that the document of one device rests on; an equal basis makes an equal document."""

    effective: EffectivePolicies
    device: DirectoryDevice
    lost: datetime | None
    """When settings policies ceased to apply. None: they apply, or never did."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Know a document by the digest of its bytes, what its settings want, and of which policies it is made."""

    sha256: bytes
    desired: Desired
    bundle: Bundle


class PolicyBook:
    """Know what applies to each device now; work is shared until policies or groups change."""

    def __init__(self, directories: Directories, encode: Encode, *, deprovision_after: timedelta) -> None:
        self._directories = directories
        self._encode = encode
        self._deprovision_after = deprovision_after
        self._corpus: Corpus | None = None
        self._groups: Mapping[str, Group] | None = None
        self._effective: EffectivePolicies | None = None
        self._marks: dict[str, tuple[Basis, Mark]] = {}

    @property
    def revision(self) -> int:
        """Return the revision of what is authored; 0 if it was not read yet."""
        return 0 if self._corpus is None else self._corpus.revision

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
        if self._corpus is not None and self._corpus.revision == corpus.revision:
            return False
        self._corpus, self._effective = corpus, None
        return True

    def enrolled(self) -> tuple[str, ...]:
        """Return all devices that have credentials, sorted. Raises UnavailableError before the first directory."""
        devices = self._directories.directory().devices
        return tuple(sorted(device_id for device_id, device in devices.items() if device.enrolled))

    def basis(self, delivery: Delivery) -> Basis:
        """Return what the device's document rests on. Raises UnavailableError while anything of it is not known."""
        directory = self._directories.directory()
        device = directory.devices.get(delivery.device_id)
        if device is None:
            raise UnavailableError("the directory does not show this device; try again", reason="DEVICE_NOT_KNOWN_YET")
        return Basis(self._effective_with(directory.groups), device, delivery.lost)

    def mark(self, basis: Basis) -> Mark:
        """Return what the document is known by; it is made only if the device's basis is another one than the last time."""
        known = self._marks.get(basis.device.device_id)
        if known is None or known[0] != basis:
            found = self._effective_for(basis)
            sha256 = hashlib.sha256(self._encode(found.document)).digest()
            mark = Mark(sha256, desired_of(found.document), found.bundle)
            known = self._marks[basis.device.device_id] = basis, mark
        return known[1]

    def content(self, basis: Basis) -> bytes:
        """Make the document as it is sent."""
        return self._encode(self._effective_for(basis).document)

    def _effective_for(self, basis: Basis) -> Effective:
        """Work out the document, and what it is made of.

        A device that loses its settings is told at once when its component goes, long before the directory says it: a
        document that named no time would have it removed now.
        """
        leaves = None if basis.lost is None else basis.lost + self._deprovision_after
        return basis.effective.effective(basis.device, leaves=leaves)

    def _effective_with(self, groups: Mapping[str, Group]) -> EffectivePolicies:
        if self._corpus is None:
            raise UnavailableError("the policies were not read yet; try again", reason="POLICIES_NOT_READ")
        if self._effective is None or self._groups is not groups:
            self._effective, self._groups = EffectivePolicies(self._corpus, groups), groups
        return self._effective
