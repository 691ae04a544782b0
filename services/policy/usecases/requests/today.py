"""Decide by the policy of today what a request asks for, as its device would."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from elevation.decision import decide
from elevation.model import Attempt, Certificate, Decision, Device, ElevationType, Platform, Signer, Trigger, User
from services._chassis.permits import Permit
from services.policy.model.directory import DirectoryDevice
from services.policy.model.requests import RequestedFile
from services.policy.usecases.analysis.drafted import hidden
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

    def shows(self, decision: Decision, reading: Permit) -> bool:
        """Tell whether who may read policies so may be told by which rule it was decided."""
        corpus = self._book.corpus
        return corpus is not None and decision.policy not in hidden(corpus.rules_policies, reading)


def denying(decisions: Sequence[Decision]) -> Decision | None:
    """Return by what a rule forbids it, however the device saw it. None: it may be that no rule does."""
    return decisions[0] if all(each.elevation_type is ElevationType.DENY for each in decisions) else None


def _attempts(
    device: DirectoryDevice, asked: Asked, certificates: tuple[Certificate, ...], now: datetime
) -> Iterator[Attempt]:
    """Make the attempt as the device may have seen it.

    Whether it trusts the signature, and whether root alone can write the file, are its own to say, and no part of a request.
    """
    for trusted in (True, False) if certificates else (False,):
        for root_only in (False, True) if asked.platform is Platform.LINUX else (False,):
            signers = (Signer(certificates[0], certificates[1:], trusted=trusted),) if certificates else ()
            yield Attempt(
                device=Device(device.name),
                user=User(asked.user),
                trigger=Trigger.REQUEST,
                platform=asked.platform,
                file=asked.file.evidence(root_only_path=root_only, signers=signers),
                now=now,
                arguments=asked.arguments,
            )
