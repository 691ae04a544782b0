"""The built-in roles have exactly the rights that the specification gives them."""

import pytest

from services._chassis.rights import RIGHTS
from services.rbac.model.builtin import BUILT_IN_ROLES

ALL_RIGHTS = [
    "policy_authoring.view_reports",
    "policy_authoring.read",
    "policy_authoring.create",
    "policy_authoring.update",
    "policy_authoring.delete",
    "policy_authoring.assign",
    "elevation_requests.view",
    "elevation_requests.modify",
    "devices.read",
    "devices.enroll",
    "devices.update",
    "devices.retire",
    "groups.read",
    "groups.create",
    "groups.update",
    "groups.delete",
    "roles.read",
    "roles.create",
    "roles.update",
    "roles.delete",
    "roles.assign",
    "tokens.read",
    "tokens.create",
    "tokens.revoke",
    "scope_tags.read",
    "scope_tags.manage",
    "reporting.configure",
    "audit.read",
]
MANAGER = """
    policy_authoring.view_reports policy_authoring.read policy_authoring.create policy_authoring.update
    policy_authoring.delete policy_authoring.assign elevation_requests.view elevation_requests.modify
    devices.read groups.read scope_tags.read
"""
READER = """
    policy_authoring.read policy_authoring.view_reports elevation_requests.view devices.read groups.read scope_tags.read
"""
MATRIX = {
    "Endpoint Privilege Manager": MANAGER,
    "Endpoint Security Manager": MANAGER,
    "Endpoint Privilege Reader": READER,
    "Read Only Operator": READER,
    "Elevation Approver": READER + "elevation_requests.modify",
    "Device Administrator": """
        devices.read devices.enroll devices.update devices.retire groups.read groups.create groups.update groups.delete
        scope_tags.read
    """,
    "Role Administrator": """
        roles.read roles.create roles.update roles.delete roles.assign tokens.read tokens.create tokens.revoke
        scope_tags.read scope_tags.manage groups.read
    """,
    "Auditor": "audit.read roles.read policy_authoring.read policy_authoring.view_reports devices.read",
    "Owner": " ".join(ALL_RIGHTS),
}


def test_the_registry_holds_every_right_once_and_no_other() -> None:
    assert sorted(right.name for right in RIGHTS) == sorted(ALL_RIGHTS)


def test_there_are_exactly_these_built_in_roles() -> None:
    assert BUILT_IN_ROLES.keys() == MATRIX.keys()


@pytest.mark.parametrize("role", MATRIX)
@pytest.mark.parametrize("right", ALL_RIGHTS)
def test_a_role_has_a_right_exactly_where_the_matrix_says(role: str, right: str) -> None:
    assert (right in BUILT_IN_ROLES[role].rights) == (right in MATRIX[role].split())


def test_every_built_in_role_is_marked_as_such() -> None:
    assert all(role.built_in and role.name == name for name, role in BUILT_IN_ROLES.items())


@pytest.mark.parametrize(
    ("right", "display_name"),
    [
        ("policy_authoring.view_reports", "Endpoint Privilege Management Policy Authoring: view reports"),
        ("elevation_requests.modify", "Endpoint Privilege Management Elevation Requests: modify"),
    ],
)
def test_the_rights_of_epm_carry_the_display_names_of_the_product(right: str, display_name: str) -> None:
    assert display_name in {each.display_name for each in RIGHTS if each.name == right}
