"""Devices, what their agents report, and enrolment tokens."""

from epm.device.v1 import agent_pb2, devices_pb2
from epm.elevation.v1 import document_pb2
from services._chassis.errors import InvalidError, Problem
from services._chassis.times import time_from_proto, time_to_proto
from services.device.model.devices import Attested, Device, EnrolmentState, Facts, Ownership
from services.device.model.lifecycle import EpmState
from services.device.model.members import described
from services.device.model.reasons import state_reason
from services.device.model.tokens import EnrolmentToken, TokenDraft
from services.device.usecases.devices import DeviceChange, ShownDevice

EPM_STATES = {
    EpmState.NOT_PROVISIONED: document_pb2.EPM_STATE_NOT_PROVISIONED,
    EpmState.PROVISIONING: document_pb2.EPM_STATE_PROVISIONING,
    EpmState.ACTIVE: document_pb2.EPM_STATE_ACTIVE,
    EpmState.DISABLED: document_pb2.EPM_STATE_DISABLED,
    EpmState.DEPROVISION_PENDING: document_pb2.EPM_STATE_DEPROVISION_PENDING,
    EpmState.DEPROVISIONING: document_pb2.EPM_STATE_DEPROVISIONING,
    EpmState.NOT_APPLICABLE: document_pb2.EPM_STATE_NOT_APPLICABLE,
}
ENROLMENT_STATES = {
    EnrolmentState.ENROLLED: devices_pb2.ENROLMENT_STATE_ENROLLED,
    EnrolmentState.RETIRED: devices_pb2.ENROLMENT_STATE_RETIRED,
    EnrolmentState.BANNED: devices_pb2.ENROLMENT_STATE_BANNED,
}
OWNERSHIPS = {
    Ownership.UNKNOWN: devices_pb2.OWNERSHIP_UNSPECIFIED,
    Ownership.CORPORATE: devices_pb2.OWNERSHIP_CORPORATE,
    Ownership.PERSONAL: devices_pb2.OWNERSHIP_PERSONAL,
}
_OWNERSHIPS_BY_NUMBER = {number: ownership for ownership, number in OWNERSHIPS.items()}


def device_to_proto(device: Device) -> devices_pb2.Device:
    """Write a device as administrators see it; the time of removal is theirs only while it can still be averted.

    What EPM did on a device before it was retired says nothing of what it does now, and nobody will hear.
    """
    facts, attested, lifecycle = device.facts, device.attested, device.lifecycle
    current = device.credentials.current
    pending = device.is_enrolled and lifecycle.state is EpmState.DEPROVISION_PENDING
    return devices_pb2.Device(
        device_id=device.device_id,
        name=device.name,
        enrolment_state=ENROLMENT_STATES[device.enrolment],
        epm_state=EPM_STATES[lifecycle.state] if device.is_enrolled else document_pb2.EPM_STATE_UNSPECIFIED,
        os=facts.os,
        os_version=facts.os_version,
        architecture=facts.architecture,
        agent_version=facts.agent_version,
        users=attested.users,
        reported_users=facts.users,
        tags=attested.tags,
        ownership=OWNERSHIPS[attested.ownership],
        scope_tags=attested.scope_tags,
        enrolled=time_to_proto(device.enrolled),
        last_check_in=time_to_proto(device.last_check_in),
        deprovision_time=time_to_proto(lifecycle.deprovision_time if pending else None),
        etag=device.etag,
        certificate_expires=time_to_proto(current.expires if current else None),
        suspected_clone=time_to_proto(device.suspected_clone),
        quarantined=device.quarantined,
        epm_state_reason=state_reason(lifecycle, facts.os, quarantined=device.quarantined)
        if device.is_enrolled
        else "",
    )


def shown_to_proto(shown: ShownDevice) -> devices_pb2.Device:
    """Write a device with its groups and with what filters see of it."""
    message = device_to_proto(shown.device)
    message.groups.extend(shown.groups)
    message.attributes.extend(
        devices_pb2.DeviceAttribute(name=each.name, values=each.values, attested=each.attested)
        for each in described(shown.device)
    )
    return message


def change_from_proto(message: devices_pb2.Device) -> DeviceChange:
    """Read what an administrator says of a device; an ownership that nobody knows is one of its problems."""
    unreadable: tuple[Problem, ...] = ()
    ownership = _OWNERSHIPS_BY_NUMBER.get(message.ownership)
    if ownership is None:
        unreadable = (Problem("device.ownership", "must be CORPORATE or PERSONAL; leave it out if not known"),)
    attested = Attested(
        users=tuple(sorted(message.users)),
        tags=tuple(sorted(message.tags)),
        ownership=ownership or Ownership.UNKNOWN,
        scope_tags=tuple(sorted(message.scope_tags)),
    )
    return DeviceChange(message.device_id, attested, message.etag, unreadable)


def facts_from_proto(message: agent_pb2.DeviceFacts) -> Facts:
    """Read what an agent reports."""
    return Facts(
        os=message.os,
        os_version=message.os_version,
        architecture=message.architecture,
        agent_version=message.agent_version,
        users=tuple(message.users),
    )


def component_from_proto(component: "agent_pb2.ComponentState.ValueType") -> bool | None:
    """Read whether the component is gone; None: what was told of it nobody knows."""
    if component not in agent_pb2.ComponentState.values():
        return None
    return component == agent_pb2.COMPONENT_STATE_ABSENT


def token_to_proto(token: EnrolmentToken) -> devices_pb2.EnrolmentToken:
    """Write an enrolment token; its digest stays here."""
    return devices_pb2.EnrolmentToken(
        token_id=token.token_id,
        description=token.description,
        quota=token.quota,
        used=token.used,
        expires=time_to_proto(token.expires),
        users=token.users,
        allow_reported_users=token.allow_reported_users,
        groups=token.groups,
        tags=token.tags,
        scope_tags=token.scope_tags,
        created=time_to_proto(token.created),
        revoked=time_to_proto(token.revoked),
        device_id=token.device_id,
        device_names=token.device_names,
    )


def token_draft_from_proto(message: devices_pb2.EnrolmentToken) -> TokenDraft:
    """Read an enrolment token that is asked for; an expiry that no calendar has is one of its problems."""
    expires, unreadable = None, tuple[Problem, ...]()
    if message.HasField("expires"):
        try:
            expires = time_from_proto("enrolment_token.expires", message.expires)
        except InvalidError as error:
            unreadable = error.problems
    return TokenDraft(
        description=message.description,
        quota=message.quota,
        expires=expires,
        users=tuple(message.users),
        allow_reported_users=message.allow_reported_users,
        groups=tuple(message.groups),
        tags=tuple(message.tags),
        scope_tags=tuple(message.scope_tags),
        device_id=message.device_id,
        device_names=tuple(message.device_names),
        unreadable=unreadable,
    )
