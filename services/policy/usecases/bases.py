"""What the document of one device is made from, and what it is known by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from elevation.document import PolicyDocument
from elevation.model import Grant, ReportingScope
from services.policy.model.bundle import Bundle
from services.policy.model.delivery import Desired
from services.policy.model.directory import DirectoryDevice


class Mould(Protocol):
    """Hold what the documents of like devices have in common; equal moulds give equal documents."""

    def fill(self, device: DirectoryDevice, deprovision_time: datetime | None, grants: Sequence[Grant] = ()) -> bytes:
        """Return the document of one of them as it is sent; grants are sorted by identifier."""
        ...


MakeMould = Callable[[PolicyDocument], Mould]
"""Takes of the document of one device what it has in common with those of like devices."""


@dataclass(frozen=True, slots=True)
class Shared:
    """Hold what devices of one shape have in common."""

    mould: Mould
    desired: Desired
    scope: ReportingScope
    """The widest by which anything may be reported from the device."""
    bundle: Bundle
    conflicting: bool
    """Whether settings policies disagree for anybody."""
    ends: bool
    """Whether nobody has settings, so that the document says when the component is to go."""


@dataclass(frozen=True, slots=True)
class Basis:
    """Hold all that the document of one device rests on; an equal basis makes an equal document."""

    shared: Shared
    device: DirectoryDevice
    lost: datetime | None
    """When settings policies ceased to apply. None: they apply, or never did."""
    grants: tuple[Grant, ...] = ()
    """What was approved there, as long as it stands."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Know a document by the digest of its bytes, what its settings want and let be reported, and of which policies it is made."""

    sha256: bytes
    desired: Desired
    scope: ReportingScope
    bundle: Bundle
