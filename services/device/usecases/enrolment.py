"""Let devices in: check the token, decide the identity, sign the key."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from services._chassis import pki
from services._chassis.audit import AuditEntry
from services._chassis.errors import ConflictError, InvalidError, LimitError, Problem, UnauthenticatedError
from services._chassis.logging import get_logger
from services.device.model.devices import Attested, Device, Facts, Origin, check_facts
from services.device.model.groups import MOST_MEMBERS, with_member
from services.device.model.installation import Installation
from services.device.model.lifecycle import begin
from services.device.model.texts import check_device_name
from services.device.model.tokens import EnrolmentToken, Refusal
from services.device.ports import Store, Work

log = get_logger("device.enrolment")


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """Hold what a device says when it asks to enrol; of the token only the digest."""

    token_digest: bytes = field(repr=False)
    csr: str
    device_name: str
    facts: Facts


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Hold the device and the certificate that speaks for it."""

    device: Device
    certificate: str


async def enrol(
    store: Store, enrolment: Enrolment, installation: Installation, *, now: datetime, new_id: str
) -> Enrolled:
    """Make a device of the caller, with `new_id`, or return the one that the same token and key made before.

    Raises UnauthenticatedError for a token that lets nobody in; InvalidError with all problems; ConflictError where an enrolled device has the name or this device has another one.
    """
    async with store.read() as work:  # strangers without a token never reach the lock of the writers
        _admitted(await work.tokens.known_by(enrolment.token_digest), now)
    key_digest = _checked(enrolment)
    async with store.transaction() as work:
        token = _admitted(await work.tokens.known_by(enrolment.token_digest), now)
        known = await work.devices.enrolled_with(token.token_id, key_digest)
        if known is not None:
            device = _same(known, enrolment)
        else:
            origin = Origin(
                token_id=token.token_id, key_digest=key_digest, allow_reported_users=token.allow_reported_users
            )
            device = await _add(work, token, _new_device(enrolment, token, origin, device_id=new_id, now=now), now)
        certificate = installation.certify(enrolment.csr, device.device_id, now=now)
    event = "enrolment_repeated" if known else "device_enrolled"
    log.info(event, device_id=device.device_id, token_id=token.token_id)
    return Enrolled(device, certificate)


def _admitted(token: EnrolmentToken | None, now: datetime) -> EnrolmentToken:
    if token is None:
        raise _refused(None, Refusal.UNKNOWN)
    if refusal := token.refusal(now):
        raise _refused(token, refusal)
    return token


def _refused(token: EnrolmentToken | None, refusal: Refusal) -> UnauthenticatedError:
    """Say why: nobody guesses a token, so who shows one that was good may know what became of it."""
    log.warning("enrolment_refused", cause=refusal.name, token_id=token.token_id if token else "")
    return UnauthenticatedError(f"the enrolment token {refusal.value}", reason="ENROLMENT_TOKEN_REFUSED")


def _checked(enrolment: Enrolment) -> str:
    """Return the digest of the key. Raises InvalidError with everything that is wrong with the request."""
    problems: list[Problem] = []
    key_digest = ""
    try:
        key_digest = pki.request_key_digest(enrolment.csr.encode())
    except InvalidError as error:
        problems += error.problems
    problems += _request_problems(enrolment)
    if problems:
        raise InvalidError(problems)
    return key_digest


def _request_problems(enrolment: Enrolment) -> Iterator[Problem]:
    yield from check_device_name("device_name", enrolment.device_name)
    yield from check_facts("facts", enrolment.facts)


def _same(known: Device, enrolment: Enrolment) -> Device:
    if known.name != enrolment.device_name:
        raise ConflictError(
            f'this key is enrolled as "{known.name}" already; ask for that name, or make a new key',
            reason="KEY_ENROLLED",
        )
    return known


def _new_device(
    enrolment: Enrolment, token: EnrolmentToken, origin: Origin, *, device_id: str, now: datetime
) -> Device:
    attested = Attested(users=token.users, tags=token.tags, scope_tags=token.scope_tags)
    bare = Device(
        device_id=device_id,
        name=enrolment.device_name,
        facts=enrolment.facts,
        attested=attested,
        origin=origin,
        enrolled=now,
        lifecycle=begin(enrolment.facts.os),
    )
    return bare.with_facts(enrolment.facts)


async def _add(work: Work, token: EnrolmentToken, device: Device, now: datetime) -> Device:
    if token.used_up:
        raise _refused(token, Refusal.USED_UP)
    if await work.devices.named(device.name) is not None:
        raise ConflictError(
            f'an enrolled device is named "{device.name}" already; choose another name or have that one retired',
            reason="DEVICE_NAME_TAKEN",
        )
    added = replace(device, revision=await work.next_revision())
    await work.devices.save(added)
    await work.tokens.save(replace(token, used=token.used + 1))
    entry = AuditEntry(
        action="device_enrolled",
        target_kind="device",
        target=device.device_id,
        after=added.shown(),
        details={"token_id": token.token_id, "epm_state": added.lifecycle.state.value},
    )
    await work.audit(entry, now=now)
    await _join_groups(work, token, added, now)
    return added


async def _join_groups(work: Work, token: EnrolmentToken, device: Device, now: datetime) -> None:
    """Make the device a member of the token's groups; one that is gone or found by a filter by now is left alone."""
    groups = await work.groups.many(token.groups)
    for name in token.groups:
        group = groups.get(name)
        if group is None or not group.lists_devices or device.name in group.members:
            continue
        if len(group.members) >= MOST_MEMBERS:
            raise LimitError(f'the group "{name}" of this token is full; have the token replaced', reason="GROUP_FULL")
        joined = replace(with_member(group, device.name), revision=await work.next_revision())
        await work.groups.save(joined)
        entry = AuditEntry(
            action="group_member_added",
            target_kind="group",
            target=name,
            details={"member": device.name, "token_id": token.token_id},
        )
        await work.audit(entry, now=now)
