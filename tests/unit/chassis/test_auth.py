"""Who calls: bearer tokens, and the names in certificates."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services._chassis import pki
from services._chassis.auth import administrator, bearer_token, digest_of, mesh_caller
from services._chassis.caller import Caller, CallerKind
from services._chassis.errors import UnauthenticatedError, UnavailableError
from services._chassis.jwt import LONGEST_JWT
from tests.builders.issuer import claims, key_set, public_ec, token, trust
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock


def reason_of(authorization: list[str]) -> str:
    with pytest.raises(UnauthenticatedError) as raised:
        bearer_token(authorization)
    return raised.value.reason


@pytest.mark.parametrize("text", ["Bearer epm_x", "bearer epm_x", "BEARER  epm_x "])
def test_a_bearer_token_is_what_follows_the_word(text: str) -> None:
    assert bearer_token([text]) == "epm_x"


def test_a_missing_token_is_told_apart() -> None:
    assert reason_of([]) == "TOKEN_MISSING"


@pytest.mark.parametrize(
    "values",
    [
        [""],
        ["Bearer"],
        ["Bearer "],
        ["epm_x"],
        ["Basic epm_x"],
        ["Bearer a b"],
        ["Bearer a\tb"],
        ["Bearer tökén"],
        ["Bearer " + "x" * 513],
        ["Bearer epm_x", "Bearer epm_x"],
    ],
)
def test_anything_but_one_bearer_token_is_malformed(values: list[str]) -> None:
    assert reason_of(values) == "TOKEN_MALFORMED"


def test_a_token_of_the_longest_length_passes() -> None:
    assert bearer_token(["Bearer " + "x" * 512]) == "x" * 512


def test_of_a_token_only_the_sha_256_counts() -> None:
    assert digest_of("epm_x") == hashlib.sha256(b"epm_x").digest()


def test_an_administrator_is_whom_the_token_speaks_for() -> None:
    access = FakeAccess()
    text = access.owner("user:alice")
    assert administrator([f"Bearer {text}"], access.control, source="ipv4:1") == Caller(
        kind=CallerKind.ADMINISTRATOR, principal="user:alice", token_id="token-1", source="ipv4:1"
    )
    with pytest.raises(UnauthenticatedError):
        administrator(["Bearer epm_other"], access.control, source="")


def caller(*uris: str, trust_domain: str = "openepm") -> Caller:
    context = {"peer_uri": [uri.encode() for uri in uris]} if uris else {}
    return mesh_caller(context, trust_domain=trust_domain, source="ipv4:1")


def test_the_certificate_tells_devices_and_services_apart() -> None:
    assert caller("spiffe://openepm/device/d-1") == Caller(kind=CallerKind.DEVICE, device_id="d-1", source="ipv4:1")
    assert caller("spiffe://acme/service/policy", trust_domain="acme") == Caller(
        kind=CallerKind.SERVICE, service="policy", source="ipv4:1"
    )


@pytest.mark.parametrize(
    "uris",
    [
        (),
        ("spiffe://openepm/device/a", "spiffe://openepm/device/b"),
        ("spiffe://other/device/a",),
        ("spiffe://openepm.evil/device/a",),
        ("https://openepm/device/a",),
        ("spiffe://openepm/user/a",),
        ("spiffe://openepm/device/",),
        ("spiffe://openepm/device",),
        ("spiffe://openepm/device/a/b",),
        ("spiffe://openepm/device/a b",),
        ("spiffe://openepm/device/ä",),
        ("spiffe://openepm/device/" + "x" * 129,),
    ],
)
def test_any_other_name_is_nobodys(uris: tuple[str, ...]) -> None:
    with pytest.raises(UnauthenticatedError) as raised:
        caller(*uris)
    assert raised.value.reason == "CERTIFICATE_FOREIGN"


def test_a_name_that_is_no_text_is_nobodys() -> None:
    with pytest.raises(UnauthenticatedError):
        mesh_caller({"peer_uri": [b"spiffe://openepm/device/\xff"]}, trust_domain="openepm", source="")


def test_a_token_of_a_trusted_issuer_speaks_for_its_principal_and_brings_groups() -> None:
    access = FakeAccess(FakeClock())
    access.trust(trust(principal_prefix="corp:"))
    text = token(claims(groups=["epm-admins"]))
    assert administrator([f"Bearer {text}"], access.control, source="ipv4:1") == Caller(
        kind=CallerKind.ADMINISTRATOR, principal="user:corp:alice", groups=frozenset({"admins"}), source="ipv4:1"
    )


def test_a_token_of_an_issuer_is_refused_as_soon_as_the_snapshot_knows_it_no_more() -> None:
    access = FakeAccess(FakeClock())
    access.trust(trust())
    text = token()
    administrator([f"Bearer {text}"], access.control, source="ipv4:1")
    access.trust(trust(key_set=key_set(public_ec())))
    with pytest.raises(UnauthenticatedError) as raised:
        administrator([f"Bearer {text}"], access.control, source="ipv4:1")
    assert raised.value.reason == "TOKEN_KEY_UNKNOWN"


def test_no_token_of_an_issuer_counts_while_the_snapshot_is_stale() -> None:
    clock = FakeClock()
    access = FakeAccess(clock, bound=timedelta(seconds=60))
    access.trust(trust())
    text = token()
    administrator([f"Bearer {text}"], access.control, source="ipv4:1")
    clock.advance(timedelta(seconds=60))
    with pytest.raises(UnavailableError):
        administrator([f"Bearer {text}"], access.control, source="ipv4:1")


@pytest.mark.parametrize("length", [513, LONGEST_JWT])
def test_a_token_of_an_issuer_may_be_longer_than_ours(length: int) -> None:
    text = "a." + "b" * (length - 4) + ".c"
    assert bearer_token([f"Bearer {text}"]) == text
    assert reason_of([f"Bearer {text}{'c' * LONGEST_JWT}"]) == "TOKEN_MALFORMED"


def test_a_device_is_known_by_the_serial_number_of_its_certificate() -> None:
    """Which of a device's certificates speaks decides whether it still counts."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    authority, _ = pki.create_authority(now=now)
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem = pki.sign_device(
        authority,
        request.public_bytes(serialization.Encoding.PEM),
        device_id="d-1",
        trust_domain="openepm",
        now=now,
        lifetime=timedelta(days=1),
    )
    context = {"peer_uri": [b"spiffe://openepm/device/d-1"], "x509_pem_cert": [pem]}
    found = mesh_caller(context, trust_domain="openepm", source="ipv4:1")
    assert found.certificate_serial == f"{x509.load_pem_x509_certificate(pem).serial_number:x}"
    assert "BEGIN" not in repr(found)
