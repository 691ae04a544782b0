"""`epm ca` makes what an installation of separate services needs, and overwrites nothing."""

from pathlib import Path

import pytest

from epmctl.main import run
from services._chassis import datadir, pki, policykeys


@pytest.fixture
def ca(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(["ca", "init", "--dir", str(tmp_path / "ca")]) == 0
    capsys.readouterr()
    return tmp_path / "ca"


def issue(ca: Path, out: Path, *more: str) -> int:
    return run(["ca", "issue-service", "rbac", "--dir", str(ca), "--out", str(out), *more])


def test_init_makes_the_ca_and_the_key_that_signs_policy_for_their_owner_alone(ca: Path) -> None:
    files = {file.name: file.stat().st_mode & 0o777 for file in ca.iterdir()}
    assert files == dict.fromkeys(("ca.crt", "ca.key", "policy-signing.key", "policy-signing.pub"), 0o600)
    assert ca.stat().st_mode & 0o777 == 0o700
    pki.load_authority(ca / "ca.crt", ca / "ca.key")


def test_init_tells_what_to_type_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["ca", "init", "--dir", str(tmp_path / "ca")])
    assert f"epm ca issue-service rbac --dir {tmp_path / 'ca'}" in capsys.readouterr().out


def test_a_second_init_changes_nothing(ca: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file.name: file.read_bytes() for file in ca.iterdir()}
    assert run(["ca", "init", "--dir", str(ca)]) == 1
    assert capsys.readouterr().err == f"error: there is a CA in {ca} already; nothing was changed\n"
    assert {file.name: file.read_bytes() for file in ca.iterdir()} == before


def test_a_service_is_known_by_its_name_and_reached_by_its_hosts(ca: Path, tmp_path: Path) -> None:
    assert issue(ca, tmp_path / "out", "--host", "rbac.example", "--host", "10.0.0.1", "--trust-domain", "acme") == 0
    certificate = pki.load_certificate(tmp_path / "out" / "rbac.crt")
    certificate.verify_directly_issued_by(pki.load_certificate(ca / "ca.crt"))
    assert datadir.uris_in(certificate) == {"spiffe://acme/service/rbac"}
    assert datadir.names_in(certificate) == {"localhost", "127.0.0.1", "::1", "rbac.example", "10.0.0.1"}
    assert pki.load_private_key(tmp_path / "out" / "rbac.key").public_key() == certificate.public_key()


def test_a_certificate_is_replaced_only_when_asked(ca: Path, tmp_path: Path) -> None:
    issue(ca, tmp_path)
    before = (tmp_path / "rbac.crt").read_bytes()
    assert issue(ca, tmp_path) == 1
    assert (tmp_path / "rbac.crt").read_bytes() == before
    assert issue(ca, tmp_path, "--replace") == 0
    assert (tmp_path / "rbac.crt").read_bytes() != before


def test_all_wrong_names_are_told_at_once(ca: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert issue(ca, tmp_path, "--host", "two words", "--host", "", "--trust-domain", "a/b") == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["server_names", "server_names", "trust_domain"]
    assert not (tmp_path / "rbac.crt").exists()


def test_an_unknown_service_is_bad_input(ca: Path, tmp_path: Path) -> None:
    assert run(["ca", "issue-service", "polcy", "--dir", str(ca), "--out", str(tmp_path)]) == 2


def test_without_a_ca_nothing_is_issued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert issue(tmp_path / "none", tmp_path / "out") == 1
    assert f"{tmp_path / 'none' / 'ca.key'}: No such file or directory" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run(["ca", "init", "--dir", str(tmp_path / "file" / "ca")]) == 1
    assert f"error: {tmp_path / 'file'}" in capsys.readouterr().err


def key_ids(folder: Path) -> list[str]:
    return [policykeys.id_of(key) for key in policykeys.load_signing_keys(folder / "policy-signing.key")]


def test_the_key_that_signs_policy_is_rotated_and_the_old_one_retired(
    ca: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [old] = key_ids(ca)
    assert run(["ca", "rotate-policy-key", "--dir", str(ca)]) == 0
    new, *rest = key_ids(ca)
    assert rest == [old]
    said = capsys.readouterr().out
    assert f"made the key {new}" in said
    assert "restart the policy and the device service" in said
    assert run(["ca", "retire-policy-key", old, "--dir", str(ca)]) == 0
    assert key_ids(ca) == [new]
    assert "restart the policy and the device service" in capsys.readouterr().out


def test_the_keys_of_a_data_folder_are_those_that_its_server_uses(
    ca: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "data" / "keys"
    keys.mkdir(parents=True)
    for name in ("policy-signing.key", "policy-signing.pub"):
        (keys / name).write_bytes((ca / name).read_bytes())
    assert run(["ca", "rotate-policy-key", "--data-dir", str(tmp_path / "data")]) == 0
    assert len(key_ids(keys)) == 2
    assert len(pki.load_policy_public_keys(keys / "policy-signing.pub")) == 2
    capsys.readouterr()
    assert run(["ca", "retire-policy-key", key_ids(keys)[0], "--data-dir", str(tmp_path / "data")]) == 1
    assert "is the newest key that signs policy; retire an older one" in capsys.readouterr().err


@pytest.mark.parametrize("both", [True, False])
def test_the_folder_of_the_keys_is_named_once(ca: Path, *, both: bool, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--dir", str(ca), "--data-dir", str(ca)] if both else []
    assert run(["ca", "rotate-policy-key", *folders]) == 2
    assert "--data-dir" in capsys.readouterr().err
    assert len(key_ids(ca)) == 1
