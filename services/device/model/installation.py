"""What every device of the installation is told at enrolment, and what signs its certificate."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from services._chassis import pki


@dataclass(frozen=True, slots=True)
class PolicyKey:
    """Name a key that signs policy, and give its public half (Ed25519, 32 bytes)."""

    key_id: str
    public_key: bytes


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

    def certify(self, csr: str, device_id: str, *, now: datetime) -> str:
        """Sign a device's key and return its certificate as PEM. Raises InvalidError for a bad request."""
        signed = pki.sign_device(
            self.authority,
            csr.encode(),
            device_id=device_id,
            trust_domain=self.trust_domain,
            now=now,
            lifetime=self.certificate_lifetime,
        )
        return signed.decode("ascii")
