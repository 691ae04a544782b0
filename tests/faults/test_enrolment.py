"""Devices that want more than they may: places that a token has not, and names that are another's."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services._chassis import pki
from tests.builders.device_service import EnrolledDevice
from tests.builders.installation import PATIENCE, Installation, installation
from tests.faults.devices import check_in, enrol, history, renew, token

CLIENTS, QUOTA = 20, 7
pytestmark = pytest.mark.xdist_group("faults-enrolment")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path) as house:
        yield house


@pytest.fixture
def either_house(tmp_path: Path, empty_database_url: str) -> Iterator[Installation]:
    """Serve an installation, once on SQLite, as operators find it, and once on PostgreSQL."""
    settings = {"EPM_DATABASE_URL": empty_database_url} if empty_database_url.startswith("postgresql") else {}
    with installation(tmp_path, **settings) as house:
        yield house


def test_twenty_clients_at_once_get_no_more_than_the_token_has(either_house: Installation) -> None:
    house = either_house
    secret, together = token(house, QUOTA), Barrier(CLIENTS)

    def come(number: int) -> str:
        together.wait(PATIENCE)
        try:
            return enrol(house, secret, f"ws-{number}").device_id
        except grpc.RpcError as error:
            return code_of(error)

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = Counter(clients.map(come, range(CLIENTS)))
    assert answers.pop("UNAUTHENTICATED") == CLIENTS - QUOTA
    devices = house.must("epm", "get", "devices", "--output", "json").json()
    assert Counter(device["deviceId"] for device in devices) == answers
    (told,) = house.must("epm", "enrolment-token", "list", "--output", "json").json()
    assert (len(devices), told["used"], told["quota"]) == (QUOTA, QUOTA, QUOTA)


def code_of(error: Any) -> str:
    return str(error.code().name)


def claiming(other: EnrolledDevice) -> tuple[bytes, bytes]:
    """Return a key and a request that says to be another device, a service, and a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [f"spiffe://openepm/device/{other.device_id}", "spiffe://openepm/service/policy"]
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, other.device_id)]))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name) for name in names]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return pki.private_pem(key), request.public_bytes(serialization.Encoding.PEM)


def says_of(device: EnrolledDevice) -> tuple[str, list[str], bool]:
    """Return what a certificate says: subject, names, and whether it may sign others."""
    leaf = x509.load_pem_x509_certificate(device.identity.certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    return leaf.subject.rfc4514_string(), [str(name.value) for name in names], constraints.ca


def test_a_request_with_the_name_of_another_gets_a_certificate_of_its_own_device(house: Installation) -> None:
    secret = token(house, 2)
    victim = enrol(house, secret, "victim")
    first = enrol(house, secret, "thief", claiming(victim))
    check_in(house, first)
    second = renew(house, first, claiming(victim))
    check_in(house, second)
    for thief in (first, second):
        subject, names, signs = says_of(thief)
        assert names == [f"spiffe://openepm/device/{first.device_id}"]
        assert victim.device_id not in subject
        assert not signs
    assert len(history(house, "thief", "CERTIFICATE")) > len(history(house, "victim", "CERTIFICATE")) == 1
    check_in(house, victim)
