"""Let devices in: check the token, decide the identity, sign the key."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from services._chassis import pki
from services._chassis.audit import AuditEntry
from services._chassis.errors import ConflictError, InvalidError, LimitError, Problem, UnauthenticatedError
from services._chassis.logging import get_logger
from services.device.model.devices import Device, Facts, check_facts
from services.device.model.groups import MOST_MEMBERS, with_member
from services.device.model.history import HistoryKind
from services.device.model.installation import Installation
from services.device.model.texts import check_device_name
from services.device.model.tokens import EnrolmentToken, Refusal
from services.device.ports import Store, Work
from services.device.usecases import records
from services.device.usecases.bounds import Bounds
from services.device.usecases.history import became
from services.device.usecases.moves import record_beginning
from services.device.usecases.records import Entry

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
    store: Store, enrolment: Enrolment, installation: Installation, *, bounds: Bounds, now: datetime, new_id: str
) -> Enrolled:
    """Make a device of the caller, with `new_id`, or take up the record that is its own; again gives a certificate again.

    Raises UnauthenticatedError for a token that lets nobody in, InvalidError with all problems, ConflictError where an enrolled
    device has the name or the key, DeniedError where the name or the key is banned, LimitError where a group is full, or where it is repeated too often.
    """
    async with store.read() as work:  # strangers without a token never reach the lock of the writers
        token = _admitted(await work.tokens.known_by(enrolment.token_digest), now)
    key_digest = _checked(enrolment, token)
    async with store.transaction() as work:
        token = _admitted(await work.tokens.known_by(enrolment.token_digest), now)
        entry = Entry(
            name=enrolment.device_name,
            facts=enrolment.facts,
            csr=enrolment.csr,
            key_digest=key_digest,
            token=token,
            now=now,
        )
        await records.refuse_banned(work, entry)
        known = await work.devices.enrolled_with(token.token_id, key_digest)
        if known is not None and known.credentials.may_repeat(key_digest):
            bounds.renews(known.device_id)
            enrolled = await _repeat(work, entry, _same(known, enrolment), installation)
        else:
            enrolled = await _enter(work, entry, installation, new_id=new_id)
    log.info(
        "device_enrolled", device_id=enrolled.device.device_id, token_id=token.token_id, repeated=known is not None
    )
    return enrolled


async def _repeat(work: Work, entry: Entry, device: Device, installation: Installation) -> Enrolled:
    """Sign the key again: the answer was lost, and if it was not, what it held counts until the new certificate is used."""
    signed = installation.certify(entry.csr, device.device_id, now=entry.now)
    credentials = device.credentials.renewed(signed.certificate)
    renewed = replace(device, credentials=credentials, revision=await work.next_revision())
    await work.devices.save(renewed)
    record = AuditEntry(
        action="certificate_issued",
        target_kind="device",
        target=device.device_id,
        after=signed.certificate.shown(),
        details={"token_id": entry.token.token_id},
    )
    await work.audit(record, now=entry.now)
    used, issued = device.credentials.current, signed.certificate
    reason = "issued again at a repeated enrolment; the old one counts until the first use of the new"
    await work.history.add(
        became(
            device.device_id,
            HistoryKind.CERTIFICATE,
            before=used.serial if used else "",
            after=issued.serial,
            reason=reason,
            now=entry.now,
        )
    )
    return Enrolled(renewed, signed.pem)


async def _enter(work: Work, entry: Entry, installation: Installation, *, new_id: str) -> Enrolled:
    """Make the record, or take one up, with a certificate that alone counts; use up one of the token's quota."""
    if entry.token.used_up:
        raise _refused(entry.token, Refusal.USED_UP)
    before = await records.before(work, entry)
    device = records.made(entry, new_id) if before is None else records.taken_up(entry, before)
    await records.refuse_taken(work, entry, besides=device.device_id if entry.token.device_id else "")
    signed = installation.certify(entry.csr, device.device_id, now=entry.now)
    credentials = device.credentials.begun_anew(signed.certificate)
    added = replace(device, credentials=credentials, revision=await work.next_revision())
    await work.devices.save(added)
    await work.identities.keep_key(added.device_id, entry.key_digest)
    await work.tokens.save(replace(entry.token, used=entry.token.used + 1))
    await _record(work, entry, before, added)
    await _join_groups(work, entry.token, added, entry.now)
    return Enrolled(added, signed.pem)


async def _record(work: Work, entry: Entry, before: Device | None, added: Device) -> None:
    serial, again = added.credentials.serials[0], " again" if before else ""
    record = AuditEntry(
        action="device_enrolled_again" if before else "device_enrolled",
        target_kind="device",
        target=added.device_id,
        before=before.shown() if before else None,
        after=added.shown(),
        details={
            "token_id": entry.token.token_id,
            "epm_state": added.lifecycle.state.value,
            "certificate_serial": serial,
        },
    )
    await work.audit(record, now=entry.now)
    replaced = before.credentials.serials if before else ()
    await work.history.add(
        became(
            added.device_id,
            HistoryKind.ENROLMENT,
            before=before.enrolment.value if before else "",
            after=added.enrolment.value,
            reason=f"enrolled{again} with the token {entry.token.token_id}",
            now=entry.now,
        ),
        became(
            added.device_id,
            HistoryKind.CERTIFICATE,
            before=replaced[0] if replaced else "",
            after=serial,
            reason="issued at enrolment; no other counts",
            now=entry.now,
        ),
    )
    await record_beginning(work, before, added, now=entry.now)


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


def _checked(enrolment: Enrolment, token: EnrolmentToken) -> str:
    """Return the digest of the key. Raises InvalidError with everything that is wrong with the request."""
    problems: list[Problem] = []
    key_digest = ""
    try:
        key_digest = pki.request_key_digest(enrolment.csr.encode())
    except InvalidError as error:
        problems += error.problems
    problems += _request_problems(enrolment, token)
    if problems:
        raise InvalidError(problems)
    return key_digest


def _request_problems(enrolment: Enrolment, token: EnrolmentToken) -> Iterator[Problem]:
    wrong = list(check_device_name("device_name", enrolment.device_name))
    yield from wrong
    if not wrong and not token.lets_in(enrolment.device_name):
        patterns = ", ".join(token.device_names)
        yield Problem("device_name", f"must match a pattern of the token: {patterns}")
    yield from check_facts("facts", enrolment.facts)


def _same(known: Device, enrolment: Enrolment) -> Device:
    if known.name != enrolment.device_name:
        raise ConflictError(
            f'this key is enrolled as "{known.name}" already; ask for that name, or make a new key',
            reason="KEY_ENROLLED",
        )
    return known


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
