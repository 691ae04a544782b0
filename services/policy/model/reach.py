"""Why policies apply to somebody, or do not, as administrators see it."""

from collections.abc import Mapping
from dataclasses import dataclass

from elevation.assignment import targets
from elevation.model import FilterMode, Group, GroupType, RulesPolicy, SettingsPolicy
from elevation.reach import Part, Reason, Seen, reasons
from services.policy.model.objects import Stored

INERT = "but no settings policy reaches the device or a user who is bound to it, so nothing is active there"
NOBODY = "it includes no group"


@dataclass(frozen=True, slots=True)
class ToldReason:
    """Hold the part of one entry of the assignments, and the sentence that says it."""

    reason: Reason
    text: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Say whether a policy applies, and why."""

    kind: type[SettingsPolicy | RulesPolicy]
    name: str
    """Empty: one that whoever asks may not see."""
    revision: int
    applies: bool
    user_targeted: bool = False
    reasons: tuple[ToldReason, ...] = ()


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """From where policies are looked at: a device and a user on it, and the groups that there are."""

    seen: Seen
    types: Mapping[str, GroupType]
    groups: Mapping[str, Group]
    asked: str
    """The user as they were named; empty: nobody was."""
    provisioned: bool
    """Whether settings reach them; without, settings policies for everybody do nothing."""

    @property
    def user(self) -> str:
        """Name the user in a sentence."""
        if self.seen.user:
            return self.seen.user
        return (
            f"{self.asked}, who is not bound to {self.seen.device},"
            if self.asked
            else f"whoever comes to {self.seen.device}"
        )


def reach_of(stored: Stored[SettingsPolicy] | Stored[RulesPolicy], view: Viewpoint) -> Reach:
    """Say whether a policy applies to somebody, and why."""
    content = stored.content
    reached = targets(content.assignments, view.types, view.seen.memberships)
    found = reasons(content.assignments, view.types, view.groups, view.seen)
    inert = bool(reached) and isinstance(content, SettingsPolicy) and not view.provisioned
    told = [ToldReason(reason, _sentence(reason, content.name, view)) for reason in found]
    if inert:
        told = [ToldReason(each.reason, f"{each.text}, {INERT}") for each in told]
    if not found:
        told = [ToldReason(Reason(Part.NOT_A_MEMBER, "", None), NOBODY)]
    return Reach(
        kind=type(content),
        name=content.name,
        revision=stored.about.revision,
        applies=bool(reached) and not inert,
        user_targeted=GroupType.USER in reached,
        reasons=tuple(told),
    )


def without_name(reach: Reach) -> Reach:
    """Leave out what tells anything of the policy but that it applies."""
    return Reach(reach.kind, "", 0, reach.applies, reach.user_targeted)


def _sentence(reason: Reason, policy: str, view: Viewpoint) -> str:
    who = view.user if reason.type is GroupType.USER else view.seen.device
    within = f'the group "{reason.group}"'
    if reason.type is None:
        does = "excludes everybody by" if reason.part is Part.EXCLUDED else "includes nobody by"
        return f'"{policy}" {does} {within}, which nobody knows'
    if reason.part is Part.NOT_A_MEMBER:
        return f'{who} is not in {within}, which "{policy}" includes'
    chain = f'the group "{reason.through}", which is in {within}' if reason.through else within
    verb = "excludes" if reason.part is Part.EXCLUDED else "includes"
    joined = " and" if reason.through else ","
    said = f'{who} is in {chain}{joined} which "{policy}" {verb}'
    return f"{said}, {_filtered(reason, view)}" if reason.filter else said


def _filtered(reason: Reason, view: Viewpoint) -> str:
    """Say what the filter of an include does to the device."""
    matches = (reason.part is Part.INCLUDED) == (reason.filter_mode is FilterMode.INCLUDE)
    found = f"{view.seen.device} {'matches' if matches else 'does not match'} the filter {reason.filter}"
    if reason.part is Part.INCLUDED:
        return f"and {found}{'' if matches else ', which would leave it out'}"
    return f"but {found}{', which leaves it out' if matches else ''}"
