"""Decide by the policy of today what a request asks for, as its device would."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from elevation.decision import decide
from elevation.model import Attempt, Certificate, Decision, Device, ElevationType, Platform, Signer, Trigger, User
from services._chassis.permits import Permit
from services.policy.model.denials import Denial
from services.policy.model.directory import DirectoryDevice
from services.policy.model.requests import RequestedFile
from services.policy.usecases.compiled import CompiledPolicies
from services.policy.usecases.documents import PolicyBook


class Asked(Protocol):
    """Say who asks for what."""

    @property
    def user(self) -> str:
        """Return the user."""
        ...

    @property
    def platform(self) -> Platform:
        """Return the platform."""
        ...

    @property
    def file(self) -> RequestedFile:
        """Return the file."""
        ...

    @property
    def arguments(self) -> tuple[str, ...]:
        """Return the arguments."""
        ...


class PolicyOfToday:
    """Know what the policy of now says of requests."""

    def __init__(self, book: PolicyBook) -> None:
        self._book = book
        self._compiled = CompiledPolicies()

    async def decisions(
        self, device: DirectoryDevice, asked: Asked, certificates: Sequence[Certificate], now: datetime
    ) -> Sequence[Decision]:
        """Decide the attempt in every way in which the device may have seen it; at least one. Raises UnavailableError."""
        effective = self._book.effective()
        document = effective.document(device)
        policy = await self._compiled.of(document, asked.user, effective)
        return [decide(policy, attempt) for attempt in _attempts(device, asked, tuple(certificates), now)]

    async def denial(
        self,
        device: DirectoryDevice,
        asked: Asked,
        certificates: Sequence[Certificate],
        *,
        reading: Permit,
        now: datetime,
    ) -> Denial | None:
        """Return by what most devices deny it: they trust the signature, and root alone can write the file. Raises UnavailableError.

        What hangs on either says so; what whoever reads policies by `reading` may not see is not named.
        """
        views = _views(asked, certificates)
        decided = dict(zip(views, await self.decisions(device, asked, certificates, now), strict=True))
        usual = max(views)
        decision = decided[usual]
        if decision.elevation_type is not ElevationType.DENY:
            return None
        others = [view for view, each in decided.items() if each.elevation_type is not ElevationType.DENY]
        named = decision.rule is not None and self.shows(decision, reading)
        return Denial(
            policy=(decision.policy or "") if named else "",
            rule=(decision.rule or "") if named else "",
            default_response=decision.rule is None,
            signature_trusted=usual.trusted and any(not view.trusted for view in others),
            root_only=usual.root_only and any(not view.root_only for view in others),
        )

    def shows(self, decision: Decision, reading: Permit) -> bool:
        """Tell whether who may read policies so may be told by which rule it was decided."""
        corpus = self._book.corpus
        return corpus is not None and any(
            stored.name == decision.policy and reading.sees(stored.about.scope_tags) for stored in corpus.rules_policies
        )


def denying(decisions: Sequence[Decision]) -> Decision | None:
    """Return by what a rule forbids it, however the device saw it. None: it may be that no rule does."""
    return decisions[0] if all(each.elevation_type is ElevationType.DENY for each in decisions) else None


class _View(NamedTuple):
    """Hold what of a file is the device's own to say, and no part of a request."""

    trusted: bool
    """Whether it trusts the signature."""
    root_only: bool
    """Whether root alone can write the file."""


def _views(asked: Asked, certificates: Sequence[Certificate]) -> Sequence[_View]:
    """Return the ways in which the device may have seen the file."""
    return [
        _View(trusted, root_only)
        for trusted in ((True, False) if certificates else (False,))
        for root_only in ((False, True) if asked.platform is Platform.LINUX else (False,))
    ]


def _attempts(
    device: DirectoryDevice, asked: Asked, certificates: tuple[Certificate, ...], now: datetime
) -> Iterator[Attempt]:
    """Make the attempt in each way in which the device may have seen it."""
    for view in _views(asked, certificates):
        signers = (Signer(certificates[0], certificates[1:], trusted=view.trusted),) if certificates else ()
        yield Attempt(
            device=Device(device.name),
            user=User(asked.user),
            trigger=Trigger.REQUEST,
            platform=asked.platform,
            file=asked.file.evidence(root_only_path=view.root_only, signers=signers),
            now=now,
            arguments=asked.arguments,
        )
