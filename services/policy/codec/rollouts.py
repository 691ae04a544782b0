"""Rollouts to the contract, and what is asked of them from it."""

from collections.abc import Iterator

from epm.policy.v1 import rollouts_pb2
from services._chassis.errors import InvalidError, Problem
from services._chassis.times import time_to_proto
from services.policy.model.bundle import PolicyKind
from services.policy.model.rollout import DevicesWanted, Rollout, RolloutDevice, RolloutState, Subject, SubjectWanted

_KINDS = {
    PolicyKind.SETTINGS: rollouts_pb2.POLICY_KIND_SETTINGS,
    PolicyKind.RULES: rollouts_pb2.POLICY_KIND_RULES,
}
_STATES = {
    RolloutState.PENDING: rollouts_pb2.ROLLOUT_STATE_PENDING,
    RolloutState.OFFERED: rollouts_pb2.ROLLOUT_STATE_OFFERED,
    RolloutState.APPLIED: rollouts_pb2.ROLLOUT_STATE_APPLIED,
    RolloutState.REJECTED: rollouts_pb2.ROLLOUT_STATE_REJECTED,
    RolloutState.LEAVING: rollouts_pb2.ROLLOUT_STATE_LEAVING,
}
_KINDS_ASKED = {number: kind for kind, number in _KINDS.items()}
_STATES_ASKED = {number: state for state, number in _STATES.items()}


def subject_from_proto(message: rollouts_pb2.RolloutSubject) -> SubjectWanted:
    """Read which policy is meant. Raises InvalidError for a kind that is not known here."""
    if problems := list(_subject_problems(message)):
        raise InvalidError(problems)
    return _wanted(message)


def devices_wanted_from_proto(
    request: rollouts_pb2.ListRolloutDevicesRequest,
) -> tuple[SubjectWanted, DevicesWanted]:
    """Read which devices of which policy are asked for; a kind and a state that are not known here are its problems."""
    problems = list(_subject_problems(request.subject))
    if request.state and request.state not in _STATES_ASKED:
        problems.append(Problem("state", "is not a state that is known here"))
    narrowed = DevicesWanted(
        state=_STATES_ASKED.get(request.state),
        stale_only=request.stale_only,
        offline_only=request.offline_only,
        unreadable=tuple(problems),
    )
    return _wanted(request.subject), narrowed


def rollout_to_proto(rollout: Rollout) -> rollouts_pb2.Rollout:
    """Write a rollout."""
    return rollouts_pb2.Rollout(
        subject=_subject(rollout.subject),
        targeted=rollout.targeted,
        pending=rollout.pending,
        offered=rollout.offered,
        applied=rollout.applied,
        rejected=rollout.rejected,
        leaving=rollout.leaving,
        stale=rollout.stale,
        offline=rollout.offline,
        time=time_to_proto(rollout.time),
        rejections=[
            rollouts_pb2.RejectionCount(reason=found.reason, devices=found.devices) for found in rollout.rejections
        ],
    )


def rollout_device_to_proto(device: RolloutDevice) -> rollouts_pb2.RolloutDevice:
    """Write how far a policy has come on one device."""
    return rollouts_pb2.RolloutDevice(
        device_id=device.device_id,
        device_name=device.device_name,
        state=_STATES[device.state],
        applied_revision=device.applied_revision,
        rejections=device.rejections,
        confirmed=time_to_proto(device.confirmed),
        offline_since=time_to_proto(device.offline_since),
        connected=device.connected,
        stale=device.stale,
    )


def _wanted(message: rollouts_pb2.RolloutSubject) -> SubjectWanted:
    return SubjectWanted(message.policy, _KINDS_ASKED.get(message.kind), message.revision)


def _subject_problems(message: rollouts_pb2.RolloutSubject) -> Iterator[Problem]:
    if message.kind and message.kind not in _KINDS_ASKED:
        yield Problem("subject.kind", "is not a kind of policy that is known here")


def _subject(subject: Subject) -> rollouts_pb2.RolloutSubject:
    return rollouts_pb2.RolloutSubject(policy=subject.policy, kind=_KINDS[subject.kind], revision=subject.revision)
