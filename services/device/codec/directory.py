"""The directory as other services watch it, and what the policy service tells in return."""

from collections.abc import Iterator, Sequence
from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp

from elevation.model import ReportingScope
from epm.device.v1 import lifecycle_pb2
from services._chassis.errors import InvalidError, Problem
from services._chassis.times import time_from_proto, time_to_proto
from services.device.codec.devices import ENROLMENT_STATES, OWNERSHIPS
from services.device.codec.groups import GROUP_TYPES
from services.device.model.devices import Device
from services.device.model.groups import Group
from services.device.model.lifecycle import Desired, SettingsReport
from services.device.model.used_groups import UsedGroup, UsedGroups
from services.device.ports import DirectoryChanges

LARGEST_MESSAGE = 512 * 1024
"""Bytes after which a transfer goes on in the next message; far below what a receiver takes."""

MOST_ENTRIES = 1000
LARGEST_REVISION = 2**63 - 1
FAR_FUTURE = 9000
"""A year to which any time may be added that a component may stay."""
_DESIRED = {
    lifecycle_pb2.DESIRED_STATE_ON: Desired.ON,
    lifecycle_pb2.DESIRED_STATE_OFF: Desired.OFF,
    lifecycle_pb2.DESIRED_STATE_NONE: Desired.NONE,
}
NOT_TOLD = lifecycle_pb2.REPORTED_SCOPE_UNSPECIFIED
_SCOPE_NUMBERS = {scope: lifecycle_pb2.ReportedScope.Value(f"REPORTED_SCOPE_{scope.value}") for scope in ReportingScope}
_SCOPES = {number: scope for scope, number in _SCOPE_NUMBERS.items()}


class Transfer:
    """Write what is read of the directory, part by part, as messages of bearable size.

    Until the last message the caller goes on holding the revision `held`.
    """

    def __init__(self, *, held: int, reset: bool) -> None:
        self._held = held
        self._message = lifecycle_pb2.WatchDirectoryResponse(reset=reset)
        self._entries = self._size = 0

    def add(self, changes: DirectoryChanges) -> Iterator[lifecycle_pb2.WatchDirectoryResponse]:
        """Take up a part; give the messages that are full by that."""
        everything: Sequence[Group | Device | str] = (*changes.groups, *changes.devices, *changes.deleted)
        for entry in everything:
            written = _written(entry)
            size = written.ByteSize()
            if self._entries and (self._entries == MOST_ENTRIES or self._size + size > LARGEST_MESSAGE):
                yield self._full()
            self._entries, self._size = self._entries + 1, self._size + size
            if isinstance(written, lifecycle_pb2.DirectoryGroup):
                self._message.groups.append(written)
            else:
                self._message.devices.append(written)

    def last(self, revision: int) -> lifecycle_pb2.WatchDirectoryResponse:
        """Give the message that makes the directory whole at the revision."""
        self._message.revision = revision
        return self._message

    def _full(self) -> lifecycle_pb2.WatchDirectoryResponse:
        message, self._message = self._message, lifecycle_pb2.WatchDirectoryResponse()
        message.more, message.revision = True, self._held
        self._entries = self._size = 0
        return message


def reports_from_proto(states: Sequence[lifecycle_pb2.SettingsState]) -> list[SettingsReport]:
    """Read settings states. Raises InvalidError with everything in them that means nothing."""
    if problems := [
        problem for number, state in enumerate(states) for problem in _problems(f"states[{number}]", state)
    ]:
        raise InvalidError(problems)
    return [
        SettingsReport(
            device_id=state.device_id,
            desired=_DESIRED[state.desired],
            acknowledged=state.acknowledged,
            revision=state.revision,
            lost=state.lost.ToDatetime(tzinfo=UTC) if state.HasField("lost") else None,
            enrolled=state.enrolled.ToDatetime(tzinfo=UTC) if state.HasField("enrolled") else None,
            scope=_SCOPES.get(state.reporting_scope),
        )
        for state in states
    ]


def used_from_proto(request: lifecycle_pb2.ReportUsedGroupsRequest) -> UsedGroups:
    """Read the groups that policies are assigned to, and sort them. Raises InvalidError with all problems."""
    if problems := list(_used_problems(request)):
        raise InvalidError(problems)
    groups = (UsedGroup(each.name, tuple(sorted(each.filters)), each.any_filter) for each in request.groups)
    return UsedGroups(request.revision, tuple(sorted(groups, key=lambda group: group.name)))


def _used_problems(request: lifecycle_pb2.ReportUsedGroupsRequest) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, group in enumerate(request.groups):
        if not group.name:
            yield Problem(f"groups[{number}].name", "is missing; name the group")
        elif group.name in seen:
            yield Problem(f"groups[{number}].name", f'"{group.name}" stands twice in this call; remove one')
        seen.add(group.name)
    if request.revision > LARGEST_REVISION:
        yield Problem("revision", f"must be at most {LARGEST_REVISION}; send one of the policy service's data")


def _problems(at: str, state: lifecycle_pb2.SettingsState) -> Iterator[Problem]:
    if state.desired not in _DESIRED:
        yield Problem(f"{at}.desired", "must be ON, OFF or NONE")
    if state.HasField("lost"):
        yield from _time_problems(f"{at}.lost", state.lost)
    if state.HasField("enrolled"):
        yield from _time_problems(f"{at}.enrolled", state.enrolled)
    if state.revision > LARGEST_REVISION:
        yield Problem(f"{at}.revision", f"must be at most {LARGEST_REVISION}; send one of the policy service's data")


def _time_problems(at: str, stamp: Timestamp) -> Iterator[Problem]:
    try:
        known = time_from_proto(at, stamp).year < FAR_FUTURE
    except InvalidError as error:
        yield from error.problems
    else:
        if not known:
            yield Problem(at, f"must be before the year {FAR_FUTURE}; send a time that has come")


def _written(entry: Group | Device | str) -> lifecycle_pb2.DirectoryGroup | lifecycle_pb2.DirectoryDevice:
    match entry:
        case Group():
            return _group(entry)
        case Device():
            return _device(entry)
        case device_id:
            return lifecycle_pb2.DirectoryDevice(device_id=device_id, deleted=True)


def _device(device: Device) -> lifecycle_pb2.DirectoryDevice:
    return lifecycle_pb2.DirectoryDevice(
        device_id=device.device_id,
        name=device.name,
        enrolment_state=ENROLMENT_STATES[device.enrolment],
        os=device.facts.os,
        os_version=device.facts.os_version,
        architecture=device.facts.architecture,
        ownership=OWNERSHIPS[device.attested.ownership],
        tags=device.attested.tags,
        users=device.bound_users,
        scope_tags=device.attested.scope_tags,
        deprovision_time=time_to_proto(device.lifecycle.deprovision_time),
        quarantined=device.quarantined,
        certificate_serials=device.credentials.serials,
        unused_certificate_serial=device.credentials.unused_serial,
        enrolled=time_to_proto(device.enrolled),
        reporting_scope=_SCOPE_NUMBERS[device.reported.scope] if device.reported.scope else NOT_TOLD,
        reported_until=[
            lifecycle_pb2.ReportedUntil(scope=_SCOPE_NUMBERS[scope], until=time_to_proto(time))
            for scope, time in device.reported.until
        ],
    )


def _group(group: Group) -> lifecycle_pb2.DirectoryGroup:
    return lifecycle_pb2.DirectoryGroup(
        name=group.name,
        type=GROUP_TYPES[group.type],
        members=group.members,
        filter=group.filter,
        deleted=group.deleted,
        groups=group.groups,
        scope_tags=group.scope_tags,
    )
