"""What every device of the installation is told at enrolment, and what signs its certificate."""

import base64
from dataclasses import dataclass
from datetime import datetime, timedelta

from services._chassis import pki
from services._chassis.certificates import described, fingerprint
from services.device.model.credentials import Certificate


@dataclass(frozen=True, slots=True)
class PolicyKey:
    """Name a key that signs policy, and give its public half (Ed25519, 32 bytes)."""

    key_id: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """Hold a certificate that was issued, as PEM and as it is remembered."""

    pem: str
    certificate: Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Hold the CA, the trust domain, where the services are, and which keys sign policy."""

    authority: pki.Authority
    trust_domain: str
    policy_address: str
    reporting_address: str
    device_address: str
    policy_keys: tuple[PolicyKey, ...]
    certificate_lifetime: timedelta

    @property
    def fingerprint(self) -> str:
        """Return what tokens tell of the CA: base64url, without padding, of the SHA-256 of its certificate's DER."""
        return base64.urlsafe_b64encode(fingerprint(self.authority.certificate)).rstrip(b"=").decode("ascii")

    def certify(self, csr: str, device_id: str, *, now: datetime) -> Signed:
        """Sign a device's key. Raises InvalidError for a bad request."""
        pem = pki.sign_device(
            self.authority,
            csr.encode(),
            device_id=device_id,
            trust_domain=self.trust_domain,
            now=now,
            lifetime=self.certificate_lifetime,
        )
        return Signed(pem.decode("ascii"), certificate_of(pem))


def certificate_of(pem: bytes) -> Certificate:
    """Return a device's certificate as it is remembered."""
    read = described(pem)
    return Certificate(read.serial, read.expires, read.key_digest)
