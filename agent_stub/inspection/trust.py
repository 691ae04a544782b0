"""Judge whether a code signature's certificate is vouched for by one of the device's trusted roots.

The path is built and checked by `cryptography`: signatures, names, validity at `now`, basic constraints, key strength. The
profile is that of code signing: the leaf must carry the code-signing purpose. Revocation lists are not read: what was
revoked is taken out of the trust store, or denied by a rule. Without a trust store nothing is trusted.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from agent_stub.inspection.report import ReportedSigner
from elevation.certificates import CertificateError, parse_der
from elevation.model import Signer


class TrustStoreError(ValueError):
    """The trust store cannot be read; the message names the file and the remedy."""


class TrustStore:
    """The roots that this device trusts code signatures by."""

    def __init__(self, roots: Sequence[x509.Certificate]) -> None:
        self._store = Store(list(roots)) if roots else None

    def judge(self, reported: ReportedSigner, now: datetime) -> Signer | None:
        """Turn a signature into evidence, trusted or not; None where its certificate cannot be read."""
        try:
            leaf = parse_der(reported.leaf)
            chain = tuple(parse_der(one) for one in reported.chain)
        except CertificateError:
            return None
        trusted = reported.intact and self._vouches(reported, now)
        return Signer(leaf=leaf, chain=chain, trusted=trusted)

    def _vouches(self, reported: ReportedSigner, now: datetime) -> bool:
        if self._store is None:
            return False
        builder = PolicyBuilder().store(self._store).time(now)
        verifier = builder.extension_policies(ca_policy=_authority(), ee_policy=_code_signing()).build_client_verifier()
        try:
            verifier.verify(
                x509.load_der_x509_certificate(reported.leaf),
                [x509.load_der_x509_certificate(one) for one in reported.chain],
            )
        except (VerificationError, ValueError, x509.InvalidVersion):
            return False
        return True


def load_trust_store(folder: Path | None) -> TrustStore:
    """Read all `*.pem` and `*.crt` of a folder as trusted roots; None gives a store that trusts nothing."""
    if folder is None:
        return TrustStore(())
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix in {".pem", ".crt"})
    except OSError as error:
        raise TrustStoreError(
            f"trusted signers {folder}: is no readable folder; create it, or leave the option away"
        ) from error
    roots: list[x509.Certificate] = []
    for file in files:
        try:
            roots += x509.load_pem_x509_certificates(file.read_bytes())
        except (OSError, ValueError, x509.InvalidVersion) as error:
            raise TrustStoreError(
                f"trusted signers {file}: is no readable PEM certificate; repair or remove it"
            ) from error
    return TrustStore(roots)


def _authority() -> ExtensionPolicy:
    return ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _must_be_authority)


def _code_signing() -> ExtensionPolicy:
    return ExtensionPolicy.permit_all().require_present(
        x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _must_be_code_signing
    )


def _must_be_authority(_: Policy, __: x509.Certificate, extension: x509.BasicConstraints) -> None:
    if not extension.ca:
        raise ValueError("an issuer is no certificate authority")


def _must_be_code_signing(_: Policy, __: x509.Certificate, extension: x509.ExtendedKeyUsage) -> None:
    if ExtendedKeyUsageOID.CODE_SIGNING not in extension:
        raise ValueError("the certificate is not meant for signing code")
