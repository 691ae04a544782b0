"""Random snapshots of access data: nested groups, some of them round, unknown names, scopes and ends."""

from datetime import timedelta

from hypothesis import strategies as st

from services._chassis.rights import RIGHT_NAMES
from services._chassis.snapshot import AccessSnapshot, AssignmentGrant, IssuerTrust, PrincipalGroupMembers, RoleGrant
from tests.fakes.clock import NOW

USERS = ("user:ann", "user:bob", "user:cid")
GROUPS = ("g0", "g1", "g2", "g3", "g4")
RIGHTS = ("policy_authoring.read", "policy_authoring.assign", "roles.read")
TAGS = ("emea", "apac", "default")
AIMS = ("laptops", "kiosks", "all-devices")
TIMES = tuple(NOW + timedelta(hours=hours) for hours in (-1, 0, 1, 2))
ROLES = (
    RoleGrant("reader", frozenset(RIGHTS[:1])),
    RoleGrant("author", frozenset(RIGHTS[:2])),
    RoleGrant("keeper", frozenset(RIGHTS[2:])),
    RoleGrant("Owner", RIGHT_NAMES),
)


def some(names: tuple[str, ...], most: int = 3) -> st.SearchStrategy[frozenset[str]]:
    """Draw a few of the names."""
    return st.frozensets(st.sampled_from(names), max_size=most)


_MEMBERS = some((*USERS, *(f"group:{name}" for name in (*GROUPS, "unknown"))))
_GROUP_LISTS = st.lists(_MEMBERS, min_size=len(GROUPS), max_size=len(GROUPS))
_ASSIGNMENTS = st.lists(
    st.builds(
        AssignmentGrant,
        name=st.just(""),
        role=st.sampled_from([*(role.name for role in ROLES), "deleted"]),
        members=_MEMBERS,
        scope_groups=some(AIMS),
        scope_tags=some(TAGS, 2),
        expires=st.sampled_from([None, None, *TIMES[1:]]),
    ),
    max_size=5,
)


@st.composite
def snapshots(draw: st.DrawFn) -> AccessSnapshot:
    """Draw a snapshot."""
    groups = draw(_GROUP_LISTS)
    given = draw(_ASSIGNMENTS)
    issuer = IssuerTrust(
        name="idp",
        issuer="https://idp.example",
        audiences=("openepm",),
        group_mappings={"staff": draw(some(GROUPS, 2))},
    )
    return AccessSnapshot(
        revision=1,
        roles=ROLES,
        principal_groups=tuple(map(PrincipalGroupMembers, GROUPS, groups)),
        assignments=tuple(
            AssignmentGrant(
                name=f"a{index}",
                role=one.role,
                members=one.members,
                scope_groups=one.scope_groups,
                scope_tags=one.scope_tags,
                expires=one.expires,
            )
            for index, one in enumerate(given)
        ),
        issuers=(issuer,),
    )
