"""Which users of devices an administrator is."""

import pytest

from services._chassis.access import CompiledAccess
from services._chassis.access_client import snapshot_from_proto, snapshot_to_proto
from services._chassis.snapshot import AccessSnapshot, IssuerTrust, PrincipalUsers


def access(issuers: tuple[str, ...] = (), **records: tuple[str, ...]) -> CompiledAccess:
    """Make access data with records of principals, and issuers with these prefixes."""
    return CompiledAccess(
        AccessSnapshot(
            revision=1,
            principals=tuple(PrincipalUsers(name, frozenset(users)) for name, users in records.items()),
            issuers=tuple(
                IssuerTrust(name=prefix, issuer=f"https://{prefix}", audiences=("epm",), principal_prefix=prefix)
                for prefix in issuers
            ),
        )
    )


@pytest.mark.parametrize(
    "user", ["bob", "BOB", r"EXAMPLE\bob", "EXAMPLE+bob", "EXAMPLE/bob", "bob@example.com", "\uff42ob"]
)
def test_a_principal_without_a_record_is_the_user_of_its_own_name_in_every_domain(user: str) -> None:
    users = access().endpoint_users
    assert users.includes("user:bob", user)
    assert users.includes("user:Bob@example.com", user)


@pytest.mark.parametrize("user", ["bobby", "bo", r"bob\alice", "alice@bob", "", "@", "\\"])
def test_a_principal_is_nobody_else(user: str) -> None:
    assert not access().endpoint_users.includes("user:bob", user)
    assert not access().endpoint_users.includes("user:", user)


def test_a_record_adds_users_and_takes_none_of_its_own_name_away() -> None:
    users = access(bob=("Robert", r"EXAMPLE\svc-bob")).endpoint_users
    assert users.of("user:bob") == {"bob", "robert", r"example\svc-bob"}
    assert users.includes("user:bob", r"ANY\ROBERT")
    assert not users.includes("user:alice", "robert")
    assert access(bob=()).endpoint_users.includes("user:bob", "bob")


def test_a_user_of_one_domain_is_not_the_user_of_another() -> None:
    users = access(bob=(r"EXAMPLE\robert", "rob@example.com")).endpoint_users
    assert users.includes("user:bob", r"example\Robert")
    assert not users.includes("user:bob", r"OTHER\robert")
    assert not users.includes("user:bob", r"EXAMPLES\robert")
    assert not users.includes("user:bob", "rob@other.com")


@pytest.mark.parametrize("stated", [r"CONTOSO\c.adm", "c.adm@contoso.com", "c.adm"])
@pytest.mark.parametrize("user", ["c.adm", "C.ADM", r"CONTOSO\c.adm", r"contoso.com\c.adm", "c.adm@contoso.com"])
def test_whoever_leaves_out_or_writes_the_domain_in_another_form_is_the_same_user(stated: str, user: str) -> None:
    users = access(carol=(stated,)).endpoint_users
    assert users.includes("user:carol", user)
    assert not users.includes("user:carol", user.lower().replace("c.adm", "d.adm"))


def test_the_prefix_of_a_trusted_issuer_is_no_part_of_the_users_name() -> None:
    users = access(issuers=("corp:",)).endpoint_users
    assert users.includes("user:corp:bob@example.com", "bob")
    assert not access().endpoint_users.includes("user:corp:bob@example.com", "bob")


def test_records_of_principals_reach_the_other_services() -> None:
    snapshot = access(bob=("robert",), eve=()).snapshot
    assert snapshot_from_proto(snapshot_to_proto(snapshot)).principals == snapshot.principals
