"""Renew the certificate of a device without a gap: the old one counts until the first use of the new."""

from dataclasses import dataclass, replace
from datetime import datetime

from services._chassis import pki
from services._chassis.audit import AuditEntry
from services._chassis.errors import InvalidError, Problem
from services._chassis.logging import get_logger
from services.device.model.credentials import Certificate
from services.device.model.devices import Device
from services.device.model.history import HistoryKind
from services.device.model.installation import Installation, Signed
from services.device.ports import Store, Work
from services.device.usecases.bounds import Bounds
from services.device.usecases.certificates import Vigilance, admit, admitted
from services.device.usecases.history import became

log = get_logger("device.renewal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """Hold what a device asks for, and the certificate that it shows."""

    device_id: str
    csr: str
    shown: Certificate


async def renew(
    store: Store,
    asked: Renewal,
    installation: Installation,
    *,
    vigilance: Vigilance,
    bounds: Bounds,
    now: datetime,
) -> Signed:
    """Sign a new key of the device that shows a certificate; a key that was signed and not used yet is signed again.

    Raises DeniedError as `admit` does, LimitError for a device that asks too often, and InvalidError for a request that is
    none or whose key is not a new one of the device.
    """
    device_id, shown = asked.device_id, asked.shown
    await admit(store, device_id, shown.serial, vigilance=vigilance, now=now)
    bounds.renews(device_id)
    key_digest = pki.request_key_digest(asked.csr.encode())
    async with store.transaction() as work:
        device = admitted(await work.devices.get(device_id), shown.serial)
        await _refuse_other_keys(work, device, key_digest, shown)
        signed = installation.certify(asked.csr, device_id, now=now)
        credentials = device.credentials.learnt(shown).renewed(signed.certificate)
        await work.devices.save(replace(device, credentials=credentials, revision=await work.next_revision()))
        await work.identities.keep_key(device_id, key_digest)
        await _record(work, device, shown, signed.certificate, now=now)
    log.info("certificate_renewed", device_id=device_id)
    return signed


async def _refuse_other_keys(work: Work, device: Device, key_digest: str, shown: Certificate) -> None:
    current = device.credentials.current or shown
    if key_digest in {shown.key_digest, current.key_digest}:
        raise InvalidError([Problem("csr_pem", "carries the key of the certificate that it renews; make a new key")])
    if any(other.device_id != device.device_id for other in await work.identities.with_key(key_digest)):
        raise InvalidError([Problem("csr_pem", "carries a key of another device; make a new key")])


async def _record(work: Work, device: Device, shown: Certificate, issued: Certificate, *, now: datetime) -> None:
    unused = device.credentials.unused
    entry = AuditEntry(
        action="certificate_issued",
        target_kind="device",
        target=device.device_id,
        before=shown.shown(),
        after=issued.shown(),
        details={"replaces_unused": unused.serial if unused else ""},
    )
    await work.audit(entry, now=now)
    reason = "renewed; the old one counts until the first use of the new"
    await work.history.add(
        became(
            device.device_id,
            HistoryKind.CERTIFICATE,
            before=shown.serial,
            after=issued.serial,
            reason=reason,
            now=now,
        )
    )
