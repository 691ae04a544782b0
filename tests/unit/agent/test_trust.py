"""Code signatures: real files, signed in the test by a fresh authority."""

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pip
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent_stub.inspection.inspector import ChildInspector
from agent_stub.inspection.opened import opened
from agent_stub.inspection.report import ReportedSigner
from agent_stub.inspection.trust import TrustStore, TrustStoreError, load_trust_store
from elevation.model import Platform, Signer
from tests.fakes.agent import NOW, OWN_RIGHTS

LAUNCHER = Path(pip.__file__).parent / "_vendor" / "distlib" / "t64.exe"
KEY = ec.generate_private_key(ec.SECP256R1())
signing = pytest.mark.skipif(shutil.which("osslsigncode") is None, reason="osslsigncode is not installed")


def made(
    subject: str,
    issuer: str,
    *,
    ca: bool,
    purpose: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CODE_SIGNING,
    days: int = 30,
    key: ec.EllipticCurvePrivateKey = KEY,
) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        subject_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]),
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
        public_key=KEY.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW - timedelta(days=60),
        not_valid_after=NOW + timedelta(days=days),
    ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return builder.sign(key, hashes.SHA256())


ROOT = made("root", "root", ca=True, purpose=None)
MIDDLE = made("middle", "root", ca=True, purpose=None)
LEAF = made("vendor", "middle", ca=False)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def judged(leaf: x509.Certificate, *chain: x509.Certificate, intact: bool = True) -> Signer:
    signer = ReportedSigner(der(leaf), tuple(der(one) for one in chain), intact)
    found = TrustStore((ROOT,)).judge(signer, NOW)
    assert found is not None
    return found


def test_a_leaf_below_a_trusted_root_is_trusted() -> None:
    assert judged(LEAF, MIDDLE, ROOT).trusted
    assert judged(LEAF, MIDDLE).trusted


def test_a_signature_that_does_not_fit_the_file_is_not_trusted() -> None:
    assert not judged(LEAF, MIDDLE, ROOT, intact=False).trusted


@pytest.mark.parametrize(
    "leaf",
    [
        made("vendor", "middle", ca=False, days=-1),
        made("vendor", "middle", ca=False, purpose=ExtendedKeyUsageOID.SERVER_AUTH),
        made("vendor", "middle", ca=False, purpose=None),
        made("vendor", "middle", ca=False, key=ec.generate_private_key(ec.SECP256R1())),
        made("vendor", "vendor", ca=False),
    ],
    ids=["expired", "for servers", "without purpose", "forged", "self-signed"],
)
def test_a_leaf_that_must_not_sign_code_is_not_trusted(leaf: x509.Certificate) -> None:
    assert not judged(leaf, MIDDLE, ROOT).trusted


def test_an_issuer_that_is_no_authority_vouches_for_nobody() -> None:
    assert not judged(LEAF, made("middle", "root", ca=False)).trusted


def test_a_chain_to_another_root_is_not_trusted() -> None:
    other = TrustStore((made("other", "other", ca=True, purpose=None),))
    found = other.judge(ReportedSigner(der(LEAF), (der(MIDDLE), der(ROOT)), intact=True), NOW)
    assert found is not None
    assert not found.trusted


def test_without_a_trust_store_nothing_is_trusted() -> None:
    found = load_trust_store(None).judge(ReportedSigner(der(LEAF), (der(MIDDLE),), intact=True), NOW)
    assert found is not None
    assert not found.trusted


def test_a_certificate_that_cannot_be_read_is_no_evidence() -> None:
    assert TrustStore((ROOT,)).judge(ReportedSigner(b"broken", (), intact=True), NOW) is None


def test_a_broken_trust_store_is_a_refused_start(tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("broken", encoding="utf-8")
    with pytest.raises(TrustStoreError, match=r"root\.pem: is no readable PEM certificate; repair or remove it"):
        load_trust_store(tmp_path)
    with pytest.raises(TrustStoreError, match="is no readable folder"):
        load_trust_store(tmp_path / "nothing")


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (LEAF, MIDDLE, ROOT))
    (tmp_path / "chain.pem").write_bytes(chain)
    key = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(key)
    output = tmp_path / "signed.exe"
    command: list[str | Path] = [
        "osslsigncode",
        "sign",
        "-certs",
        tmp_path / "chain.pem",
        "-key",
        tmp_path / "key.pem",
        "-h",
        "sha256",
    ]
    command += ["-in", LAUNCHER, "-out", output]
    subprocess.run(command, check=True, capture_output=True)
    return output


@pytest.fixture
def changed(signed: Path) -> Path:
    content = bytearray(signed.read_bytes())
    content[5000] ^= 1
    signed.write_bytes(bytes(content))
    return signed


@pytest.fixture
def broken(signed: Path) -> Path:
    """Give a program whose signature holds a certificate that is none any more."""
    content = signed.read_bytes()
    at = content.rindex(der(LEAF))
    signed.write_bytes(content[: at + 4] + b"\xff" * 40 + content[at + 44 :])
    return signed


async def signers_of(path: Path) -> tuple[Signer, ...]:
    with opened(str(path), OWN_RIGHTS) as file:
        found = await ChildInspector(TrustStore((ROOT,))).inspect(file, Platform.WINDOWS, NOW)
    return found.evidence.signers


@signing
async def test_a_signed_program_shows_its_signer_its_chain_and_that_it_is_trusted(signed: Path) -> None:
    (signer,) = await signers_of(signed)
    assert (signer.leaf.der, signer.trusted) == (der(LEAF), True)
    assert [one.der for one in signer.chain] == [der(MIDDLE), der(ROOT)]


@signing
async def test_a_signed_program_that_was_changed_is_not_trusted(changed: Path) -> None:
    (signer,) = await signers_of(changed)
    assert not signer.trusted


@signing
async def test_a_broken_certificate_in_a_program_makes_it_unsigned_and_leaves_the_rest(broken: Path) -> None:
    with opened(str(broken), OWN_RIGHTS) as file:
        found = await ChildInspector(TrustStore((ROOT,))).inspect(file, Platform.WINDOWS, NOW)
    assert (found.evidence.signers, found.evidence.internal_name, len(found.evidence.sha256)) == ((), "t64.exe", 64)
