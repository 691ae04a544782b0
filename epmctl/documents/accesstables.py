"""The tables of the kinds that say who may administer what, and of identity providers."""

import re
from typing import Final

from epmctl.documents.shapes import Each, Key, Shape, Text, Texts
from epmctl.documents.values import TIME

MAX_SCOPE_TAGS: Final = 100
MAX_ENDPOINT_USERS: Final = 100
RIGHT: Final = re.compile(r"[a-z_]+\.[a-z_]+")
MEMBER: Final = re.compile(r"(user|group):\S.*")

_MEMBERS: Final = Key(
    Texts(item=Text(blank=False, form=MEMBER), once=True),
    "Administrators as `user:NAME`, principal groups as `group:NAME`.",
    required=True,
)

ROLE: Final = Shape(
    title="RoleSpec",
    keys={
        "rights": Key(
            Texts(item=Text(blank=False, form=RIGHT), once=True),
            "What it allows, for example `policy_authoring.read`.",
            required=True,
        )
    },
)

PRINCIPAL: Final = Shape(
    title="PrincipalSpec",
    keys={
        "endpointUsers": Key(
            Texts(item=Text(blank=False), once=True, most=MAX_ENDPOINT_USERS),
            "Users, as devices name them, whose requests this administrator does not approve; the user of the same name always is.",
            required=True,
        )
    },
)

PRINCIPAL_GROUP: Final = Shape(title="PrincipalGroupSpec", keys={"members": _MEMBERS})

ROLE_ASSIGNMENT: Final = Shape(
    title="RoleAssignmentSpec",
    keys={
        "role": Key(Text(blank=False), "Name of the role that is given.", required=True),
        "members": _MEMBERS,
        "scopeGroups": Key(Texts(once=True), "Groups of devices and users that the rights reach. Absent: all."),
        "scopeTags": Key(
            Texts(once=True, most=MAX_SCOPE_TAGS), "Scope tags of objects that the rights reach. Absent: all."
        ),
        "expires": Key(
            Text(null=True, moment=True, form=TIME),
            "When it ends by itself, a time such as `2026-11-23T12:00:00Z`. Absent: never.",
        ),
    },
)

SCOPE_TAG: Final = Shape(title="ScopeTagSpec", keys={})

GROUP_MAPPING: Final = Shape(
    title="GroupMapping",
    keys={
        "claimValue": Key(Text(blank=False), "A group as the provider names it.", required=True),
        "principalGroup": Key(Text(blank=False), "The principal group that it counts as.", required=True),
    },
)

TRUSTED_ISSUER: Final = Shape(
    title="TrustedIssuerSpec",
    keys={
        "issuer": Key(Text(blank=False), "Address of the identity provider, as its tokens say it.", required=True),
        "audiences": Key(Texts(), "Whom its tokens for OpenEPM are meant for.", required=True),
        "jwksUri": Key(Text(), "Address of its keys. Absent, as `jwks` and `jwksFile`: found by discovery."),
        "jwks": Key(Text(), "Its keys, a JSON Web Key Set."),
        "jwksFile": Key(Text(), "File with its keys, relative to the document."),
        "principalClaim": Key(Text(), "Claim that names the administrator."),
        "principalPrefix": Key(Text(), "What stands before the name of its administrators here."),
        "groupsClaim": Key(Text(), "Claim that lists groups."),
        "groupMappings": Key(Each(GROUP_MAPPING), "Groups of the provider that count as principal groups."),
        "clientId": Key(Text(), "Identifier of `epm login` at the provider."),
    },
)
