"""Decide which record an enrolment makes or takes up.

- A token for one device takes up that record, enrolled or retired, and changes nothing that administrators say of it.
- Whoever takes a record up may hold nothing: the lifecycle begins anew, and so does all that rests on what was acknowledged.
- A device under the name of a retired one takes up that one's record: what administrators say of it is what the token says.
  It does so only where the token's scope tags are among the record's: whoever may make a
  token must not come to see a past that was out of their sight.
- Anything else is a new device.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services._chassis.errors import ConflictError, DeniedError, InvalidError, Problem, UnauthenticatedError
from services.device.model.devices import Attested, Device, EnrolmentState, Facts, Origin
from services.device.model.lifecycle import begin
from services.device.model.tokens import EnrolmentToken
from services.device.ports import Work

_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Hold all that an enrolment rests on; everything in it was checked."""

    name: str
    facts: Facts
    csr: str
    key_digest: str
    token: EnrolmentToken
    now: datetime


async def refuse_banned(work: Work, entry: Entry) -> None:
    """Raise DeniedError if a banned device has this name, or ever had this key."""
    known = (*await work.identities.left_under(entry.name), *await work.identities.with_key(entry.key_digest))
    if any(device.is_banned for device in known):
        raise DeniedError(
            "a device of this name or with this key is banned; ask for its ban to be lifted", reason="DEVICE_BANNED"
        )


async def refuse_taken(work: Work, entry: Entry, *, besides: str) -> None:
    """Raise ConflictError if an enrolled device other than `besides` has the name or the key."""
    holder = await work.devices.named(entry.name)
    if holder is not None and holder.device_id != besides:
        raise ConflictError(
            f'an enrolled device is named "{entry.name}" already; choose another name, have that one retired, or ask for a'
            " token for it if it is this device",
            reason="DEVICE_NAME_TAKEN",
        )
    for other in await work.identities.with_key(entry.key_digest):
        if other.is_enrolled and other.device_id != besides:
            raise ConflictError(
                f'this key is enrolled as "{other.name}" already; ask for that name, or make a new key',
                reason="KEY_ENROLLED",
            )


async def before(work: Work, entry: Entry) -> Device | None:
    """Return the record that the enrolment takes up; None if it makes one.

    Raises UnauthenticatedError where the token's device is no more, InvalidError where it has another name.
    """
    token = entry.token
    if not token.device_id:
        return await _retired(work, entry)
    device = await work.devices.get(token.device_id)
    if device is None:
        raise UnauthenticatedError(
            "the enrolment token is for a device that is no more; ask for a new one", reason="ENROLMENT_TOKEN_REFUSED"
        )
    if device.is_banned:
        raise DeniedError("this device is banned; ask for its ban to be lifted", reason="DEVICE_BANNED")
    if device.name != entry.name:
        problem = Problem("device_name", f'must be "{device.name}", the name of the device that the token is for')
        raise InvalidError([problem])
    return device


def made(entry: Entry, device_id: str) -> Device:
    """Return the record of a new device."""
    bare = Device(
        device_id=device_id,
        name=entry.name,
        facts=entry.facts,
        attested=_attested(entry.token),
        origin=_origin(entry, allow_reported_users=entry.token.allow_reported_users),
        enrolled=entry.now,
        lifecycle=begin(entry.facts.os),
    )
    return bare.with_facts(entry.facts)


def taken_up(entry: Entry, record: Device) -> Device:
    """Return the record of a device that enrols again."""
    bound = bool(entry.token.device_id)
    said = record.origin if bound else entry.token
    again = replace(
        record,
        attested=record.attested if bound else _attested(entry.token),
        origin=_origin(entry, allow_reported_users=said.allow_reported_users),
        enrolled=max(
            entry.now, record.enrolled + _MOMENT
        ),  # others tell lives apart by it, also where a clock was set back
        enrolment=EnrolmentState.ENROLLED,
        lifecycle=begin(entry.facts.os),
        version=record.version + 1,
    )
    return again.with_facts(entry.facts)


async def _retired(work: Work, entry: Entry) -> Device | None:
    wanted = frozenset(entry.token.scope_tags)
    left = (device for device in await work.identities.left_under(entry.name) if not device.is_banned)
    return next((device for device in left if wanted <= frozenset(device.attested.scope_tags)), None)


def _attested(token: EnrolmentToken) -> Attested:
    return Attested(users=token.users, tags=token.tags, scope_tags=token.scope_tags)


def _origin(entry: Entry, *, allow_reported_users: bool) -> Origin:
    return Origin(token_id=entry.token.token_id, key_digest=entry.key_digest, allow_reported_users=allow_reported_users)
