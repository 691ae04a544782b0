"""What the first start makes in the data folder, and what later ones leave alone or renew."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services._chassis import datadir, pki
from services._chassis.config import SERVICES, CertificateFiles, ServiceSettings
from services._chassis.errors import StateError
from tests.fakes.clock import NOW

EVERYTHING = {
    "ca/ca.crt",
    "ca/ca.key",
    "keys/policy-signing.key",
    "keys/policy-signing.pub",
    *(f"certs/{name}.{kind}" for name in ("server", *SERVICES) for kind in ("crt", "key")),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def prepare(folder: Path, services: tuple[str, ...] = SERVICES, *, now: datetime = NOW, **values: Any) -> None:
    datadir.prepare(ServiceSettings(data_dir=folder, **values), services, now=now)


def refused(folder: Path, services: tuple[str, ...] = SERVICES, *, now: datetime = NOW, **values: Any) -> str:
    with pytest.raises(StateError) as raised:
        prepare(folder, services, now=now, **values)
    return str(raised.value)


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def names(folder: Path, name: str = "server") -> frozenset[str]:
    return datadir.names_in(pki.load_certificate(folder / "certs" / f"{name}.crt"))


def fitting(folder: Path, name: str) -> bool:
    certificate = pki.load_certificate(folder / "certs" / f"{name}.crt")
    return pki.load_private_key(folder / "certs" / f"{name}.key").public_key() == certificate.public_key()


def test_the_first_start_makes_everything_for_its_owner_alone(folder: Path) -> None:
    prepare(folder)
    assert content(folder).keys() == EVERYTHING
    assert {file.stat().st_mode & 0o777 for file in folder.rglob("*") if file.is_file()} == {0o600}
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


def test_the_second_start_changes_nothing(folder: Path) -> None:
    prepare(folder)
    before = content(folder)
    prepare(folder, now=NOW + timedelta(days=300))
    assert content(folder) == before


@pytest.mark.parametrize("lost", sorted(EVERYTHING - {"ca/ca.key", "keys/policy-signing.key"}))
def test_a_start_that_was_cut_short_is_completed_and_keeps_what_stands(folder: Path, lost: str) -> None:
    prepare(folder)
    before = content(folder)
    (folder / lost).unlink()
    prepare(folder)
    after = content(folder)
    assert after.keys() == EVERYTHING
    pair = {lost, lost.replace(".crt", ".key"), lost.replace(".key", ".crt")} if lost != "ca/ca.crt" else {lost}
    if lost != "ca/ca.crt":  # a CA made anew from its key is another certificate: what it issued stays valid
        assert {name: after[name] for name in EVERYTHING - pair} == {name: before[name] for name in EVERYTHING - pair}
    assert after["ca/ca.key"] == before["ca/ca.key"]
    assert all(fitting(folder, name) for name in ("server", *SERVICES))


def test_a_certificate_whose_key_is_another_one_is_issued_again(folder: Path) -> None:
    prepare(folder)
    (folder / "certs" / "rbac.key").write_bytes((folder / "certs" / "policy.key").read_bytes())
    prepare(folder)
    assert fitting(folder, "rbac")


def test_a_new_name_is_added_to_those_that_the_certificate_has(folder: Path) -> None:
    prepare(folder, server_names=("old.example",))
    prepare(folder, server_names=("new.example", "10.0.0.1"))
    assert names(folder) >= {"old.example", "new.example", "10.0.0.1", "localhost", "127.0.0.1", "::1"}
    assert "new.example" not in names(folder, "rbac")


def test_the_server_carries_every_name_by_which_it_is_reached(folder: Path) -> None:
    prepare(folder, public_host="10.0.0.2", mesh_host="[fd00::0:1]", advertised_policy="epm.example:8444")
    assert names(folder) >= {"10.0.0.2", "fd00::1", "epm.example"}


def test_an_address_that_means_everywhere_is_no_name(folder: Path) -> None:
    prepare(folder, public_host="0.0.0.0", mesh_host="::")
    assert names(folder) == {"localhost", "127.0.0.1", "::1"}


def test_a_certificate_that_runs_out_is_issued_again_in_time(folder: Path) -> None:
    prepare(folder)
    before = content(folder)
    later = NOW + pki.SERVICE_LIFETIME - datadir.RENEW_BEFORE
    prepare(folder, now=later - timedelta(seconds=1))
    assert content(folder) == before
    prepare(folder, now=later)
    changed = {name for name, text in content(folder).items() if text != before[name]}
    assert changed == {name for name in EVERYTHING if name.startswith("certs/")}
    assert pki.load_certificate(folder / "certs" / "server.crt").not_valid_after_utc == later + pki.SERVICE_LIFETIME


def test_another_trust_domain_asks_for_other_certificates_of_the_services(folder: Path) -> None:
    prepare(folder)
    prepare(folder, trust_domain="other")
    assert datadir.uris_in(pki.load_certificate(folder / "certs" / "rbac.crt")) == {"spiffe://other/service/rbac"}


def test_a_certificate_of_another_issuer_is_left_alone(folder: Path) -> None:
    prepare(folder)
    other, _ = pki.create_authority(now=NOW, name="Public CA")
    pki.write_issued(pki.issue_server(other, (), now=NOW - timedelta(days=820)), folder / "certs", "server")
    before = content(folder)
    prepare(folder, server_names=("new.example",))
    assert content(folder) == before


def test_a_certificate_of_another_issuer_needs_its_own_key(folder: Path) -> None:
    prepare(folder)
    other, _ = pki.create_authority(now=NOW, name="Public CA")
    (folder / "certs" / "server.crt").write_bytes(pki.issue_server(other, (), now=NOW).certificate)
    assert f"the key {folder / 'certs' / 'server.key'} does not belong to" in refused(folder)


def test_a_damaged_certificate_is_named_and_not_overwritten(folder: Path) -> None:
    prepare(folder)
    (folder / "certs" / "server.crt").write_text("damaged")
    assert refused(folder) == f"{folder / 'certs' / 'server.crt'} holds no PEM certificate"


@pytest.mark.parametrize(
    ("file", "said"),
    [("ca/ca.crt", "holds no PEM certificate"), ("ca/ca.key", "is not PEM without a password")],
)
def test_a_damaged_ca_is_named_and_not_overwritten(folder: Path, file: str, said: str) -> None:
    prepare(folder)
    (folder / file).write_text("damaged")
    assert said in refused(folder)
    assert (folder / file).read_text() == "damaged"


def test_a_ca_with_the_key_of_another_is_refused(folder: Path) -> None:
    prepare(folder)
    _, other = pki.create_authority(now=NOW)
    (folder / "ca" / "ca.key").write_bytes(other.key)
    assert "does not belong to the CA certificate" in refused(folder)


def test_a_lost_signing_key_is_not_made_anew_behind_the_devices_backs(folder: Path) -> None:
    prepare(folder)
    (folder / "keys" / "policy-signing.key").unlink()
    assert "the key that signs policy is missing" in refused(folder)


def test_public_keys_that_do_not_know_the_signing_key_are_refused(folder: Path) -> None:
    prepare(folder)
    (folder / "keys" / "policy-signing.key").write_bytes(pki.create_signing_key())
    assert "does not hold the public half" in refused(folder)


def test_keys_that_devices_trust_may_be_more_than_the_one_that_signs(folder: Path, tmp_path: Path) -> None:
    prepare(folder)
    public = folder / "keys" / "policy-signing.pub"
    (tmp_path / "next.key").write_bytes(pki.create_signing_key())
    public.write_bytes(pki.public_pem(pki.load_signing_key(tmp_path / "next.key").public_key()) + public.read_bytes())
    prepare(folder)
    assert len(pki.load_policy_public_keys(public)) == 2


def test_one_service_alone_needs_the_ca_to_be_there(folder: Path) -> None:
    assert "the certificate of the installation's CA is missing" in refused(folder, ("rbac",))
    assert content(folder) == {}


def test_one_service_makes_its_own_certificate_where_the_ca_has_its_key(folder: Path) -> None:
    datadir.keep_authority(folder / "ca" / "ca.crt", folder / "ca" / "ca.key", now=NOW)
    prepare(folder, ("rbac",), server_names=("rbac.example",))
    assert content(folder).keys() == {"ca/ca.crt", "ca/ca.key", "certs/rbac.crt", "certs/rbac.key"}
    assert "rbac.example" in names(folder, "rbac")


def test_the_policy_service_alone_makes_the_key_that_signs(folder: Path) -> None:
    datadir.keep_authority(folder / "ca" / "ca.crt", folder / "ca" / "ca.key", now=NOW)
    prepare(folder, ("policy",))
    assert (folder / "keys" / "policy-signing.pub").exists()


@pytest.fixture
def split(folder: Path) -> Path:
    """Hold what `epm ca` hands to the rbac service: the CA without its key, and a certificate."""
    prepare(folder)
    for name in EVERYTHING - {"ca/ca.crt", "certs/rbac.crt", "certs/rbac.key"}:
        (folder / name).unlink()
    return folder


def test_one_service_alone_starts_on_what_it_was_handed(split: Path) -> None:
    before = content(split)
    prepare(split, ("rbac",))
    assert content(split) == before


def test_one_service_goes_on_with_a_certificate_that_nobody_here_can_renew(split: Path) -> None:
    before = content(split)
    prepare(split, ("rbac",), now=NOW + pki.SERVICE_LIFETIME - timedelta(days=1), server_names=("new.example",))
    assert content(split) == before


def test_one_service_is_refused_once_its_certificate_has_expired(split: Path) -> None:
    assert "rbac.crt has expired; make one with `epm ca issue-service rbac" in refused(
        split, ("rbac",), now=NOW + pki.SERVICE_LIFETIME
    )


def test_one_service_is_refused_without_its_certificate(split: Path) -> None:
    (split / "certs" / "rbac.crt").unlink()
    assert "rbac.crt is missing; make one with `epm ca issue-service rbac" in refused(split, ("rbac",))


def test_what_the_operator_configures_elsewhere_is_not_made(folder: Path, tmp_path: Path) -> None:
    datadir.keep_authority(tmp_path / "own.crt", tmp_path / "own.key", now=NOW)
    pair = CertificateFiles(tmp_path / "x.crt", tmp_path / "x.key")
    (tmp_path / "signing.key").write_bytes(pki.create_signing_key())
    prepare(
        folder,
        ca_file=tmp_path / "own.crt",
        ca_key_file=tmp_path / "own.key",
        public_certificate=pair,
        mesh_certificate=pair,
        service_certificate=pair,
        signing_key_file=tmp_path / "signing.key",
    )
    assert content(folder).keys() == {"keys/policy-signing.pub"}


def test_a_ca_elsewhere_that_is_missing_is_not_made_in_its_place(folder: Path, tmp_path: Path) -> None:
    assert "CA is missing" in refused(folder, ca_file=tmp_path / "own.crt")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    folder.mkdir(mode=0o500)
    assert refused(folder) == f"{folder / 'ca' / 'ca.key'} cannot be written: Permission denied"


def test_a_file_in_the_place_of_a_folder_is_named(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "ca").write_text("")
    assert refused(folder) == f"{folder / 'ca' / 'ca.key'} cannot be written: Not a directory"


def test_the_key_of_an_audit_log_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    key, public = tmp_path / "keys" / "audit-rbac.key", tmp_path / "keys" / "audit-rbac.pub"
    made, pem = datadir.keep_audit_key(key, public)
    again, pem_again = datadir.keep_audit_key(key, public)
    assert (again.public_key(), pem_again) == (made.public_key(), pem)
    assert pem.encode() == pki.public_pem(made.public_key()) == public.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600


def test_a_lost_key_of_an_audit_log_leaves_its_public_half(tmp_path: Path) -> None:
    key, public = tmp_path / "audit-rbac.key", tmp_path / "audit-rbac.pub"
    _, old = datadir.keep_audit_key(key, public)
    key.unlink()
    new, both = datadir.keep_audit_key(key, public)
    assert both == old + pki.public_pem(new.public_key()).decode()


@pytest.mark.parametrize("name", ["audit-rbac.key", "audit-rbac.pub"])
def test_files_of_an_audit_log_that_are_no_keys_refuse_the_start_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("nothing")
    with pytest.raises(StateError, match=name):
        datadir.keep_audit_key(tmp_path / "audit-rbac.key", tmp_path / "audit-rbac.pub")
