"""What the certificates say, and which requests and keys are refused."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services._chassis import pki
from services._chassis.certificates import Described, chain_with_authority, described
from services._chassis.errors import InvalidError, StateError
from tests.builders.doors import device_request
from tests.fakes.clock import NOW

CA, CA_FILES = pki.create_authority(now=NOW)
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def read(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def uris(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def sign(csr: bytes, device_id: str = "d-1") -> x509.Certificate:
    lifetime = timedelta(days=90)
    return read(pki.sign_device(CA, csr, device_id=device_id, trust_domain="acme", now=NOW, lifetime=lifetime))


def request(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, subject: str = "root") -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    )
    wanted = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://acme/service/rbac")])
    builder = builder.add_extension(wanted, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_the_ca_signs_leaves_and_no_other_ca() -> None:
    constraints = CA.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = CA.certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert (constraints.value.ca, constraints.value.path_length, constraints.critical) == (True, 0, True)
    assert (usage.value.key_cert_sign, usage.value.digital_signature, usage.critical) == (True, False, True)
    assert isinstance(CA.key.curve, ec.SECP256R1)
    assert CA.certificate.not_valid_after_utc == NOW + pki.CA_LIFETIME


def test_a_server_certificate_is_for_this_machine_and_its_names() -> None:
    certificate = read(pki.issue_server(CA, ("epm.example", "10.0.0.1", "localhost"), now=NOW).certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "epm.example"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "10.0.0.1"]
    assert usages(certificate) == [SERVER]
    assert uris(certificate) == []
    certificate.verify_directly_issued_by(CA.certificate)


def test_a_service_certificate_is_shown_both_ways_under_one_name() -> None:
    certificate = read(pki.issue_service(CA, "policy", (), trust_domain="acme", now=NOW).certificate)
    assert usages(certificate) == [SERVER, CLIENT]
    assert uris(certificate) == ["spiffe://acme/service/policy"]


def test_of_a_devices_request_only_the_public_key_counts() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = sign(request(key))
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == "CN=d-1"
    assert uris(certificate) == ["spiffe://acme/device/d-1"]
    assert usages(certificate) == [CLIENT]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_before_utc == NOW - pki.BACKDATED
    assert certificate.not_valid_after_utc == NOW + timedelta(days=90)
    certificate.verify_directly_issued_by(CA.certificate)


def test_a_request_may_be_pem_or_der() -> None:
    _, pem = device_request()
    der = x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER)
    assert sign(pem).public_key() == sign(der).public_key()
    assert pki.request_key_digest(pem) == pki.request_key_digest(der)


def tampered() -> bytes:
    """Give a request whose signature is another key's."""
    first = x509.load_pem_x509_csr(request(ec.generate_private_key(ec.SECP256R1())))
    der = bytearray(first.public_bytes(serialization.Encoding.DER))
    der[-3] ^= 1
    return bytes(der)


def of_version(number: int) -> bytes:
    """Give a request of another version of the form."""
    der = bytearray(x509.load_pem_x509_csr(device_request()[1]).public_bytes(serialization.Encoding.DER))
    der[der.index(b"\x02\x01\x00") + 2] = number
    return bytes(der)


@pytest.mark.parametrize(
    ("csr", "said"),
    [
        (of_version(5), "is not a certificate signing request"),
        (b"", "is not a certificate signing request"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "is not a certificate"),
        (CA.pem, "is not a certificate signing request"),
        (b"x" * 100_000, "is not a certificate signing request"),
        (request(rsa.generate_private_key(65537, 2048)), "must carry an ECDSA P-256 key"),
        (request(ec.generate_private_key(ec.SECP384R1())), "must carry an ECDSA P-256 key"),
        (tampered(), "is not"),
    ],
    ids=["of no known version", "empty", "no request", "a certificate", "too long", "RSA", "P-384", "not proven"],
)
def test_what_is_no_request_for_a_device_is_refused(csr: bytes, said: str) -> None:
    for ask in (lambda: sign(csr), lambda: pki.request_key_digest(csr)):
        with pytest.raises(InvalidError) as raised:
            ask()
        (problem,) = raised.value.problems
        assert problem.field == "csr_pem"
        assert said in problem.message


def test_a_certificate_is_described_by_what_tells_it_from_others() -> None:
    _, csr = device_request()
    certificate = sign(csr)
    found = described(certificate.public_bytes(serialization.Encoding.PEM))
    assert found == Described(f"{certificate.serial_number:x}", NOW + timedelta(days=90), pki.request_key_digest(csr))


def test_a_lone_leaf_is_shown_with_the_ca_that_issued_it() -> None:
    leaf = pki.issue_server(CA, (), now=NOW).certificate
    shown = x509.load_pem_x509_certificates(chain_with_authority(leaf, CA.pem))
    assert shown == [read(leaf), CA.certificate]


def test_a_leaf_of_another_issuer_and_a_chain_that_goes_on_are_shown_as_they_are() -> None:
    other, _ = pki.create_authority(now=NOW)
    foreign = pki.issue_server(other, (), now=NOW).certificate
    own = pki.issue_server(CA, (), now=NOW).certificate
    for chain in (foreign, own + CA.pem, own + other.pem):
        assert chain_with_authority(chain, CA.pem) == chain


def test_serial_numbers_differ() -> None:
    _, csr = device_request()
    assert sign(csr).serial_number != sign(csr).serial_number


@pytest.fixture
def files(tmp_path: Path) -> Path:
    pki.write_issued(CA_FILES, tmp_path, "ca")
    return tmp_path


def test_a_ca_comes_back_from_its_files(files: Path) -> None:
    loaded = pki.load_authority(files / "ca.crt", files / "ca.key")
    assert (loaded.pem, loaded.key.private_numbers()) == (CA.pem, CA.key.private_numbers())


def test_a_ca_made_from_a_key_that_stands_keeps_it() -> None:
    again, issued = pki.create_authority(now=NOW, key=CA.key)
    assert issued.key == CA_FILES.key
    leaf = read(pki.issue_server(CA, (), now=NOW).certificate)
    leaf.verify_directly_issued_by(again.certificate)


def test_files_of_a_certificate_are_their_owners_alone(files: Path) -> None:
    assert {file.stat().st_mode & 0o777 for file in files.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"damaged", "is not PEM without a password"),
        (pki.create_signing_key(), "is not an ECDSA key"),
        (pki.create_authority(now=NOW)[1].key, "does not belong to the CA certificate"),
    ],
    ids=["missing", "damaged", "another kind", "another CA's"],
)
def test_a_key_that_is_not_the_cas_is_named(files: Path, content: bytes | None, said: str) -> None:
    (files / "ca.key").unlink()
    if content is not None:
        (files / "ca.key").write_bytes(content)
    with pytest.raises(StateError, match=said) as raised:
        pki.load_authority(files / "ca.crt", files / "ca.key")
    assert str(files / "ca.key") in str(raised.value)


def test_a_key_behind_a_password_is_refused(files: Path) -> None:
    locked = CA.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (files / "ca.key").write_bytes(locked)
    with pytest.raises(StateError, match="is not PEM without a password"):
        pki.load_authority(files / "ca.crt", files / "ca.key")


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), (b"damaged", "holds no PEM certificate")])
def test_a_certificate_that_is_none_is_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "x.crt").write_bytes(content)
    with pytest.raises(StateError, match=said):
        pki.load_certificate(tmp_path / "x.crt")


def test_the_key_that_signs_policy_and_its_public_half_come_back(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(pki.create_signing_key())
    key = pki.load_signing_key(tmp_path / "key")
    other = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "pub").write_bytes(pki.public_pem(key.public_key()) + b"# next\n" + pki.public_pem(other.public_key()))
    first, second = pki.load_policy_public_keys(tmp_path / "pub")
    first.verify(key.sign(b"policy"), b"policy")
    assert pki.policy_key_id(second) == pki.policy_key_id(other.public_key())
    assert len(pki.policy_key_id(first)) == 16


def test_a_key_of_another_kind_signs_no_policy(files: Path) -> None:
    with pytest.raises(StateError, match="is not an Ed25519 key"):
        pki.load_signing_key(files / "ca.key")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"", "at least one"),
        (b"damaged -----END PUBLIC KEY-----", "are not PEM public keys"),
        (
            CA.key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
            "must be Ed25519 public keys",
        ),
    ],
    ids=["missing", "empty", "damaged", "another kind"],
)
def test_public_keys_that_verify_no_policy_are_named(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "pub").write_bytes(content)
    with pytest.raises(StateError, match=said) as raised:
        pki.load_policy_public_keys(tmp_path / "pub")
    assert str(tmp_path / "pub") in str(raised.value)
