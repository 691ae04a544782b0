"""Access objects that have to be as they were when a change of them was planned."""

from dataclasses import replace

import pytest

from services._chassis.errors import ConflictError, InvalidError
from services._chassis.expected import Expected
from services.rbac import usecases
from services.rbac.model.documents import KINDS, etag_of
from services.rbac.model.issuers import TrustedIssuer
from services.rbac.model.nouns import AccessObject, Actor, Principal, PrincipalGroup, ScopeTag
from tests.builders.rbac import OWNERS, assignment, role, store_with
from tests.fakes.clock import NOW
from tests.fakes.rbac import MemoryStore

HELPDESK = role("helpdesk", "policy_authoring.read")
BOB = Principal("bob", frozenset({"robert"}))
TIER2 = PrincipalGroup("tier2", frozenset({"user:bob"}))
EMEA = ScopeTag("emea", "Europe")
GIVEN = assignment("given", "helpdesk", "group:tier2", groups=["laptops"], tags=["emea"])
ISSUER = TrustedIssuer(
    name="corp", issuer="https://login.example.com", audiences=("epm",), principal_prefix="corp:", client_id="cli"
)
ALL: dict[str, AccessObject] = dict(zip(KINDS, (HELPDESK, BOB, TIER2, GIVEN, EMEA, ISSUER), strict=True))
CHANGED: dict[str, AccessObject] = {
    "Role": replace(HELPDESK, description="new"),
    "Principal": Principal("bob", frozenset({"robert", "bobby"})),
    "PrincipalGroup": PrincipalGroup("tier2", frozenset({"user:carol"})),
    "RoleAssignment": replace(GIVEN, scope_tags=frozenset()),
    "ScopeTag": replace(EMEA, description="new"),
    "TrustedIssuer": replace(ISSUER, client_id="other"),
}


async def apply(
    store: MemoryStore, *items: AccessObject, expected: list[Expected], validate_only: bool = False
) -> usecases.Applied:
    return await usecases.apply_access(
        store, items, actor=Actor("user:owner"), now=NOW, validate_only=validate_only, expected=expected
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_an_object_of_any_kind_is_replaced_where_it_is_as_expected_and_not_otherwise(kind: str) -> None:
    store = store_with(*ALL.values())
    planned = [Expected(kind, ALL[kind].name, etag_of(ALL[kind]))]
    await apply(store, CHANGED[kind], expected=planned)
    with pytest.raises(ConflictError, match=f'{kind} "{ALL[kind].name}" has changed') as refused:
        await apply(store, ALL[kind], expected=planned)
    assert refused.value.stale
    assert store.kept.find(ALL[kind]) == CHANGED[kind]


@pytest.mark.parametrize("validate_only", [True, False])
async def test_all_that_differ_are_named_and_nothing_is_written(*, validate_only: bool) -> None:
    store = store_with(HELPDESK, EMEA)
    expected = [
        Expected("Role", "helpdesk", "old"),
        Expected("ScopeTag", "emea", ""),
        Expected("PrincipalGroup", "tier2", "1"),
        Expected("RoleAssignment", OWNERS.name, etag_of(OWNERS)),
    ]
    with pytest.raises(ConflictError) as refused:
        await apply(store, ScopeTag("apac"), expected=expected, validate_only=validate_only)
    assert 'Role "helpdesk" has changed, ScopeTag "emea" is there already' in refused.value.message
    assert 'PrincipalGroup "tier2" is not there any more' in refused.value.message
    assert "RoleAssignment" not in refused.value.message
    assert ("apac" in store.kept.scope_tags, store.kept_revision) == (False, 1)


async def test_built_in_roles_have_etags_too() -> None:
    store = store_with()
    auditor = store.kept.roles["Auditor"]
    await apply(store, EMEA, expected=[Expected("Role", "Auditor", etag_of(auditor))])
    assert "emea" in store.kept.scope_tags


async def test_kinds_that_there_are_not_are_refused() -> None:
    with pytest.raises(InvalidError) as refused:
        await apply(store_with(), EMEA, expected=[Expected("Group", "a", "")])
    assert [problem.field for problem in refused.value.problems] == ["expected[0].kind"]
