"""Decide attempts as the agent of a device would: by the document that the server would offer, with the kernel of the agent."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime

from elevation.decision import named
from elevation.document import PolicyDocument
from elevation.explain import explain, without_names
from elevation.index import CompiledPolicy
from elevation.model import Attempt, Decision, Device, FileEvidence, Grant, Parent, Platform, Trigger, User
from elevation.reasons import Cause
from services._chassis.errors import InvalidError, Problem
from services._chassis.permits import Permit
from services.policy.model.delivery import Delivery
from services.policy.model.directory import DirectoryDevice
from services.policy.model.origins import EffectiveSettings
from services.policy.ports import Deliveries
from services.policy.usecases.analysis.devices import device_problems, effective_settings, visible_device
from services.policy.usecases.analysis.drafted import Drafted, Drafting, Overlay, hidden
from services.policy.usecases.compiled import CompiledPolicies
from services.policy.usecases.documents import PolicyBook

_UNFINDABLE = Parent("", "")
_PLATFORMS = {platform.value.lower(): platform for platform in Platform}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationWanted:
    """Hold an attempt that nobody made; `flaws` could not be read."""

    device: str
    """Name or identifier."""
    user: str
    file: FileEvidence
    administrator: bool = False
    trigger: Trigger = Trigger.REQUEST
    platform: Platform | None = None
    """None: the device's."""
    arguments: tuple[str, ...] = ()
    parent: Parent | None = None
    now: datetime | None = None
    """None: the present."""
    policy_confirmed: datetime | None = None
    """None: at the time of the attempt."""
    grants: tuple[Grant, ...] = ()
    overlay: Overlay = field(default_factory=Overlay)
    flaws: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Simulated:
    """Say what would happen."""

    decision: Decision
    settings: EffectiveSettings
    applied: bool
    """Whether the device has applied what decides here."""


class Simulation:
    """Decide attempts by what is stored, or by a draft on top of it."""

    def __init__(self, drafting: Drafting, book: PolicyBook, deliveries: Deliveries) -> None:
        self._drafting = drafting
        self._book = book
        self._deliveries = deliveries
        self._compiled = CompiledPolicies()

    async def simulate(self, wanted: SimulationWanted, *, permit: Permit, now: datetime) -> Simulated:
        """Return what would happen.

        Raises InvalidError with all problems, NotFoundError for a device that is not there, UnavailableError.
        """
        stored = await self._drafting.stored()
        problems = [*wanted.flaws, *device_problems(wanted.device)]
        there = await self._drafting.drafted(stored, wanted.overlay, permit, now=now, beside=problems)
        device = visible_device(there.directory, wanted.device, permit)
        document = there.effective.document(device)
        out_of_sight = hidden(there.corpus.rules_policies, permit)
        attempt = _attempt(wanted, device, now)
        ground = there.effective if there.effective is stored.effective else None
        policy = await self._compiled.of(document, wanted.user, ground)
        decision = await asyncio.to_thread(_explained, policy, attempt, out_of_sight)
        return Simulated(
            decision=without_names(decision, out_of_sight),
            settings=effective_settings(there, device, wanted.user, permit),
            applied=_same(document, stored, device) and await self._has_applied(device),
        )

    async def _has_applied(self, device: DirectoryDevice) -> bool:
        known = (await self._deliveries.many([device.device_id])).get(device.device_id, Delivery(device.device_id))
        delivery = known.in_life(device.life)
        if not delivery.revision or delivery.applied_revision != delivery.revision:
            return False
        return delivery.sha256 == self._book.mark(self._book.basis(delivery)).sha256


def _attempt(wanted: SimulationWanted, device: DirectoryDevice, now: datetime) -> Attempt:
    """Make the attempt as the agent would. Raises InvalidError where nobody knows the platform."""
    platform = wanted.platform or _PLATFORMS.get(str(device.attributes.get("os", "")).lower())
    if platform is None:
        message = f"is missing, and {device.name} has not told its operating system; say which platform the file is of"
        raise InvalidError([Problem("platform", message)])
    return Attempt(
        device=Device(device.name),
        user=User(wanted.user, administrator=wanted.administrator),
        trigger=wanted.trigger,
        platform=platform,
        file=wanted.file,
        now=wanted.now or now,
        arguments=wanted.arguments,
        parent=wanted.parent,
        grants=wanted.grants,
        policy_confirmed=wanted.policy_confirmed,
    )


def _explained(policy: CompiledPolicy, attempt: Attempt, out_of_sight: frozenset[str]) -> Decision:
    """Decide; a parent's rule that the caller may not see is one that is not there."""
    parent = attempt.parent
    if parent is None or parent.policy not in out_of_sight:
        return explain(policy, attempt)
    decision = explain(policy, replace(attempt, parent=_UNFINDABLE))
    return replace(decision, detail=named(parent)) if decision.cause is Cause.PARENT_UNKNOWN else decision


def _same(document: PolicyDocument, stored: Drafted, device: DirectoryDevice) -> bool:
    """Tell whether a draft leaves what decides as it is stored: a policy that it changes has another revision."""
    known = stored.effective.document(device)
    return known is document or replace(known, rules_policies=()) == replace(document, rules_policies=())
