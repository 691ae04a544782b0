"""Hold the policy in force: apply offers, keep the exact bytes, verify them at every start, and never go back.

Two files: `policy` holds the last applied offer as it came (manifest, signature, document); `contact.json` holds the
highest revision that was ever applied and when the server last confirmed it. A damaged `policy` is set aside and the
device goes on without one; the highest revision still keeps an older document out.

Manifests tell of the keys that verify policy. They are taken up from a manifest that was accepted and was issued later than
any before, so that nobody brings a retired key back with an old one. INVARIANT: what is on the disk verifies by the keys that
are on the disk, whatever was written last: the stored policy first gets a signature of a key that stays, then the keys go.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from google.protobuf.message import DecodeError

from agent_stub.files import StateError, sync_folder, write_private
from agent_stub.identity_store import save_identity
from agent_stub.model import Identity
from agent_stub.notes import read_note, write_note
from agent_stub.policy.document import DevicePolicy, read_document
from agent_stub.policy.manifest import (
    Manifest,
    PolicyRefusedError,
    digest_problems,
    read_manifest,
    time_problems,
    verify,
)
from epm.policy.v1 import agent_pb2

log = structlog.get_logger()

POLICY, CONTACT = "policy", "contact.json"
NEVER = datetime.min.replace(tzinfo=UTC)
SAVE_EVERY = timedelta(minutes=5)
"""Servers may confirm more often; disks need not hear of each. After a restart a policy is at most this much staler."""
SAVES_OF_A_LIFE = 4
"""A policy that gets stale sooner than in a multiple of that is saved so many times until then."""
CLOCK_SKEW = timedelta(minutes=5)
"""A confirmation that is further in the future was noted by a clock that is not the one of now."""


@dataclass(frozen=True, slots=True)
class Held:
    """The policy in force."""

    revision: int
    sha256: bytes
    policy: DevicePolicy
    key_id: str
    """The key by which the stored policy verifies."""


@dataclass(frozen=True, slots=True)
class Contact:
    """What outlives a damaged policy: how far the device has come, and when it last heard so."""

    highest: int = 0
    highest_sha256: bytes = b""
    confirmed: datetime = NEVER
    issued: datetime = NEVER
    """When the newest manifest was issued that was accepted."""


class PolicyKeeper:
    """The policy of one device. `since_boot` is a clock that nobody sets; without it the wall clock alone is asked."""

    def __init__(self, folder: Path, identity: Identity, since_boot: Callable[[], timedelta] | None = None) -> None:
        self._folder = folder
        self._identity = identity
        self._since_boot = since_boot
        self._heard: timedelta | None = None
        self._contact = Contact()
        self._saved = NEVER
        self.held: Held | None = None
        """None: no policy is in force, so nothing is elevated."""

    @property
    def confirmed(self) -> datetime:
        """Give the time at which the server last confirmed the policy, by the wall clock of then."""
        return self._contact.confirmed

    @property
    def issued(self) -> datetime:
        """Give the time at which the newest manifest was signed that was accepted, by the server's clock; NEVER before."""
        return self._contact.issued

    def confirmed_by(self, now: datetime) -> datetime:
        """Give the time of the last confirmation as staleness counts from it (D22): a wall clock that is set makes it older.

        Set forward, the policy is as old as the clock says, until the server confirms it anew. Set back, it is as old as
        the clock says that nobody sets; after a restart, a confirmation in the future counts for nothing.
        """
        confirmed = self._contact.confirmed
        if self._since_boot is not None and self._heard is not None:
            return min(confirmed, now - (self._since_boot() - self._heard))
        return NEVER if confirmed - now > CLOCK_SKEW else confirmed

    def rest(self) -> None:
        """Save what was confirmed last, before the agent stops."""
        if self._contact.confirmed != self._saved:
            self._save_contact()

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Name the keys by which the device verifies policy."""
        return tuple(sorted(self._identity.policy_keys))

    def load(self) -> list[str]:
        """Take up what was stored; say what could not be. Raise StateError where the disk does not give it out."""
        problems = self._load_contact()
        try:
            content = (self._folder / POLICY).read_bytes()
        except FileNotFoundError:
            return problems
        except OSError as error:
            raise StateError(
                f"{self._folder / POLICY}: cannot be read ({error.strerror}); repair the disk, or move the file away"
            ) from error
        try:
            offer = agent_pb2.Offer.FromString(content)
            manifest = verify(offer.signed_manifest, self._identity)
            self.held = self._held(manifest, offer.document)
        except DecodeError:
            problems.append(self._set_aside("it cannot be read"))
        except PolicyRefusedError as error:
            problems.append(self._set_aside(str(error)))
        else:
            self._rise(manifest)
        return problems

    def apply(self, offer: agent_pb2.Offer, now: datetime) -> int:
        """Put an offer in force and give its revision; raise PolicyRefusedError with all reasons, the old one stays."""
        manifest, reasons = read_manifest(offer.signed_manifest, self._identity)
        untimely = time_problems(manifest, now)
        reasons += untimely
        rollback = self._order_problems(manifest)
        policy, problems = self._read(manifest, offer.document)
        reasons += rollback + problems
        if policy is None or reasons:
            code = "POLICY_ROLLBACK_REFUSED" if rollback else "POLICY_REFUSED"
            raise PolicyRefusedError(reasons, code, passes=reasons == untimely)
        key_id = manifest.key_id
        if self.held is None or self.held.revision != manifest.revision:
            self._store(offer)
        else:
            key_id = self.held.key_id
        self.held = Held(manifest.revision, manifest.sha256, policy, key_id)
        self._accept(manifest, offer.signed_manifest, now)
        self._save_contact()
        return manifest.revision

    def confirm(self, signed: agent_pb2.SignedManifest, now: datetime) -> None:
        """Take the server's word that the held policy is the newest; raise PolicyRefusedError if it is another one."""
        manifest = verify(signed, self._identity)
        if self.held is None or (manifest.revision, manifest.sha256) != (self.held.revision, self.held.sha256):
            raise PolicyRefusedError([f"revision {manifest.revision} was confirmed, which this device does not hold"])
        if problems := time_problems(manifest, now):
            raise PolicyRefusedError(problems)
        self._accept(manifest, signed, now)
        if abs(now - self._saved) >= self._save_every():
            self._save_contact()

    def dismiss(self) -> bool:
        """Have no policy in force, also after a restart; tell whether one was. How far the device has come stays known."""
        held = self.held
        if held is not None and held.policy.is_farewell():
            return False
        self.held = None
        self._remove()
        return held is not None

    def _accept(self, manifest: Manifest, signed: agent_pb2.SignedManifest, now: datetime) -> None:
        """Take in that the server said this now, and the keys that it told of if this is the newest that it ever said."""
        known = max(self._contact.issued, self._identity.policy_keys_issued or NEVER)
        if known < manifest.issued and manifest.keys and dict(manifest.keys) != self._identity.policy_keys:
            self._take_up_keys(manifest, signed)
        self._contact = Contact(manifest.revision, manifest.sha256, now, max(known, manifest.issued))
        self._heard = self._since_boot() if self._since_boot is not None else None

    def _save_every(self) -> timedelta:
        """Save so often that a restart takes little of the life of a policy that gets stale soon."""
        life = self.held.policy.stale_after if self.held is not None else None
        return SAVE_EVERY if life is None else min(SAVE_EVERY, life / SAVES_OF_A_LIFE)

    def _take_up_keys(self, manifest: Manifest, signed: agent_pb2.SignedManifest) -> None:
        identity = replace(self._identity, policy_keys=dict(manifest.keys), policy_keys_issued=manifest.issued)
        try:
            if self.held is not None and self.held.key_id not in manifest.keys:
                self._sign_stored_anew(signed)
                self.held = replace(self.held, key_id=manifest.key_id)
            save_identity(self._folder, identity)
        except (OSError, DecodeError) as error:
            log.warning("policy_keys_not_stored", error=str(error))
            return
        log.info("policy_keys_taken_up", keys=sorted(manifest.keys), before=self.key_ids)
        self._identity = identity

    def _sign_stored_anew(self, signed: agent_pb2.SignedManifest) -> None:
        """Keep the stored document under another signature of the same revision and digest."""
        stored = agent_pb2.Offer.FromString((self._folder / POLICY).read_bytes())
        stored.signed_manifest.CopyFrom(signed)
        write_private(self._folder / POLICY, stored.SerializeToString())

    def _order_problems(self, manifest: Manifest) -> list[str]:
        contact = self._contact
        if 0 < manifest.revision < contact.highest:
            return [f"revision {manifest.revision} is older than revision {contact.highest}, which the device has had"]
        if 0 < manifest.revision == contact.highest and contact.highest_sha256 not in {b"", manifest.sha256}:
            return [f"revision {manifest.revision} was another document before"]
        return []

    def _held(self, manifest: Manifest, content: bytes) -> Held:
        policy, reasons = self._read(manifest, content)
        if policy is None:
            raise PolicyRefusedError(reasons)
        return Held(manifest.revision, manifest.sha256, policy, manifest.key_id)

    def _read(self, manifest: Manifest, content: bytes) -> tuple[DevicePolicy | None, list[str]]:
        """Read the document that the manifest is of; any other is not looked into."""
        if problems := digest_problems(manifest, content):
            return None, problems
        return read_document(content, self._identity.device_id)

    def _store(self, offer: agent_pb2.Offer) -> None:
        kept = agent_pb2.Offer(signed_manifest=offer.signed_manifest, document=offer.document)
        try:
            write_private(self._folder / POLICY, kept.SerializeToString())
        except OSError as error:
            reason = f"the device cannot store the policy ({(error.strerror or 'input/output error').lower()})"
            raise PolicyRefusedError([reason], "POLICY_NOT_STORED", passes=True) from error

    def _remove(self) -> None:
        try:
            (self._folder / POLICY).unlink(missing_ok=True)
            sync_folder(self._folder)
        except OSError as error:
            # Counts until the agent stops; the next refusal tries again.
            log.warning("policy_not_removed", error=error.strerror)

    def _rise(self, manifest: Manifest) -> None:
        """Count the stored policy where the contact file is behind it or gone."""
        if manifest.revision > self._contact.highest:
            contact = self._contact
            self._contact = Contact(manifest.revision, manifest.sha256, contact.confirmed, contact.issued)

    def _load_contact(self) -> list[str]:
        try:
            fields = read_note(self._folder / CONTACT)
            confirmed = datetime.fromisoformat(fields["confirmed"]).astimezone(UTC)
            issued = datetime.fromisoformat(fields.get("issued", NEVER.isoformat())).replace(tzinfo=UTC)
            self._contact = Contact(int(fields["highest"]), bytes.fromhex(fields["highest_sha256"]), confirmed, issued)
            self._saved = confirmed
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            log.warning("policy_contact_damaged", file=str(self._folder / CONTACT))
            return ["the time of the last contact is damaged; the policy counts as stale until the server is reached"]
        return []

    def _save_contact(self) -> None:
        contact = self._contact
        fields = {
            "highest": contact.highest,
            "highest_sha256": contact.highest_sha256.hex(),
            "confirmed": contact.confirmed.isoformat(),
            "issued": contact.issued.isoformat(),
        }
        try:
            write_note(self._folder / CONTACT, fields)
        except OSError as error:
            # Counts until the agent stops; after that the device is as stale as the file says.
            log.warning("policy_contact_not_stored", error=error.strerror)
        else:
            self._saved = contact.confirmed

    def _set_aside(self, reason: str) -> str:
        path = self._folder / POLICY
        aside = path.with_name("policy.damaged")
        try:
            path.replace(aside)
        except OSError as error:
            raise StateError(
                f"{path}: is damaged ({reason}) and cannot be set aside ({error.strerror}); move it away"
            ) from error
        log.warning("policy_cache_damaged", reason=reason, kept_as=str(aside))
        return f"the stored policy is not usable and was set aside: {reason}"
