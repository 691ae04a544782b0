"""What surrounds an agent: an installation with its keys, and the ports of the machine."""

import asyncio
import base64
import errno
import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from agent_stub.events.journal import LocalDisk
from agent_stub.inspection.inspector import Inspection
from agent_stub.inspection.opened import EvidenceError, OpenedFile
from agent_stub.launcher import Recorded
from agent_stub.model import Credentials, Identity, Moment, Question, Rights, Subject
from agent_stub.policy.manifest import DOMAIN_TAG
from elevation.codec.document import encode_document
from elevation.document import PolicyDocument, UserPolicy
from elevation.model import FileEvidence, Platform, RulesPolicy, Settings
from epm.policy.v1 import agent_pb2 as policy_pb2
from services._chassis import pki

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ACTIVE = Settings()
OWN_RIGHTS = Rights(os.geteuid(), os.getegid())
DEVICE_ID, DEVICE_NAME, TENANT, KEY_ID = "device-17", "ws-17", "epm.test", "key-1"


def document(*policies: RulesPolicy, settings: Settings | None = ACTIVE, device_id: str = DEVICE_ID) -> PolicyDocument:
    """Give a document in which all policies apply to everybody by the device."""
    names = tuple(policy.name for policy in policies)
    return PolicyDocument(
        device_id=device_id,
        device_name=DEVICE_NAME,
        any_user=UserPolicy("", settings, device_targeted=names),
        rules_policies=policies,
        revisions=dict.fromkeys(names, 7),
    )


class Installation:
    """The keys of an installation and what it signs."""

    def __init__(self) -> None:
        # Certificates are checked by the TLS library's own clock, so these alone live in the present.
        self.present = datetime.now(UTC)
        self.authority, _ = pki.create_authority(now=self.present)
        self.policy_key = ed25519.Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> bytes:
        """Give the key that agents verify policy by."""
        return self.policy_key.public_key().public_bytes_raw()

    @property
    def fingerprint(self) -> str:
        """Give the end of every token's text: which CA the installation has."""
        digest = hashlib.sha256(self.authority.certificate.public_bytes(serialization.Encoding.DER)).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    def identity(self, address: str = "localhost:1") -> Identity:
        """Give the identity of an enrolled device."""
        return Identity(DEVICE_ID, DEVICE_NAME, TENANT, address, address, address, {KEY_ID: self.public_key})

    def credentials(self, device_id: str = DEVICE_ID, *, lifetime: timedelta = timedelta(days=1)) -> Credentials:
        """Give the credentials of an enrolled device."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        csr = request.public_bytes(serialization.Encoding.PEM)
        certificate = self.sign_device(csr, device_id, lifetime=lifetime)
        return Credentials(pki.private_pem(key), certificate, self.authority.pem)

    def sign_device(self, csr: bytes, device_id: str = DEVICE_ID, *, lifetime: timedelta = timedelta(days=1)) -> bytes:
        """Sign a device's request."""
        return pki.sign_device(
            self.authority, csr, device_id=device_id, trust_domain=TENANT, now=self.present, lifetime=lifetime
        )

    def offer(self, content: PolicyDocument | bytes, revision: int = 1, **changes: object) -> policy_pb2.Offer:
        """Offer a document; `changes` replace fields of the manifest before it is signed."""
        content = content if isinstance(content, bytes) else encode_document(content).SerializeToString()
        signed = self.signed(hashlib.sha256(content).digest(), revision, **changes)
        return policy_pb2.Offer(nonce=b"nonce-%d" % revision, signed_manifest=signed, document=content)

    def signed(self, sha256: bytes, revision: int, **changes: object) -> policy_pb2.SignedManifest:
        """Sign a manifest."""
        fields: dict[str, object] = {
            "tenant": TENANT,
            "device_id": DEVICE_ID,
            "revision": revision,
            "document_sha256": sha256,
            "issued": NOW,
            "expires": NOW + timedelta(days=2),
            "key_id": KEY_ID,
        }
        manifest = policy_pb2.Manifest(**(fields | changes)).SerializeToString()  # type: ignore[arg-type]
        return policy_pb2.SignedManifest(manifest=manifest, signature=self.policy_key.sign(DOMAIN_TAG + manifest))


class FakeMoments:
    """A clock that a test moves."""

    def __init__(self, wall: datetime = NOW) -> None:
        self.wall = wall
        self.since_boot = timedelta(hours=1)

    def now(self) -> Moment:
        """Give the test's time."""
        return Moment(self.wall, self.since_boot)

    def goes_on(self, time: timedelta) -> None:
        """Let time pass, for both of the device's clocks."""
        self.wall += time
        self.since_boot += time


class FakeDelays:
    """Notes every wait, and ends it when the test says."""

    def __init__(self) -> None:
        self.bounds: list[float] = []
        self.pauses: list[float] = []
        self.waiting = asyncio.Semaphore(0)
        self._go = asyncio.Semaphore(0)

    async def pause(self, seconds: float) -> None:
        """Wait for the test."""
        self.pauses.append(seconds)
        self.waiting.release()
        await self._go.acquire()

    def jitter(self, most: float) -> float:
        """Note the bound."""
        self.bounds.append(most)
        return most

    def go_on(self) -> None:
        """End a wait."""
        self._go.release()


class FakeDisk(LocalDisk):
    """The real file system, until the test fills it."""

    def __init__(self) -> None:
        self.full = False
        self.broken = False
        self.replaced = 0
        """How many times a file was put in place of another."""

    def append(self, path: Path, content: bytes) -> None:
        """Write half of what does not fit, as file systems do."""
        if self.full:
            super().append(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().append(path, content)

    def replace(self, path: Path, content: bytes) -> None:
        """Refuse where nothing fits."""
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.replaced += 1
        super().replace(path, content)

    def truncate(self, path: Path, size: int) -> None:
        """Refuse where nothing can be changed any more."""
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        super().truncate(path, size)


class FakeInspector:
    """Knows every file by heart."""

    def __init__(self, **facts: object) -> None:
        self.facts: dict[str, object] = {"sha256": "a" * 64} | facts
        self.fault = ""

    async def inspect(self, file: OpenedFile, platform: Platform, now: datetime) -> Inspection:
        """Give the facts of the test."""
        del platform, now
        if self.fault:
            raise EvidenceError(self.fault)
        return Inspection(replace(FileEvidence(path=file.path), **self.facts), kind="other")  # type: ignore[arg-type]


class FakePrompter:
    """A user with prepared answers, who gives up when they run out."""

    def __init__(self, *, confirms: bool | None = True, reasons: Sequence[str] = ()) -> None:
        self.confirms = confirms
        self.reasons = list(reasons)
        self.questions: list[Question] = []
        self.problems: list[str] = []

    async def confirm(self, question: Question) -> bool | None:
        """Answer."""
        self.questions.append(question)
        return self.confirms

    async def approval(self, question: Question) -> bool | None:
        """Answer."""
        self.questions.append(question)
        return self.confirms

    async def justification(self, problem: str) -> str | None:
        """Answer."""
        self.problems.append(problem)
        return self.reasons.pop(0) if self.reasons else None


class FakeLauncher:
    """Starts nothing, and notes what it should have started."""

    def __init__(self, fault: OSError | None = None) -> None:
        self.fault = fault
        self.launched: list[tuple[str, tuple[str, ...], str]] = []

    async def launch(self, file: OpenedFile, arguments: Sequence[str], subject: Subject) -> Recorded:
        """Note it."""
        if self.fault is not None:
            raise self.fault
        self.launched.append((file.path, tuple(arguments), subject.name))
        return Recorded("noted")


class Numbers:
    """Identifiers in order."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        """Give the next one."""
        self._last += 1
        return f"id-{self._last}"
