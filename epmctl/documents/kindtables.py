"""The table of a document as a whole, and which table the spec of each kind has."""

from collections.abc import Mapping
from typing import Final

from epmctl.documents import accesstables, tables
from epmctl.documents.model import Kind
from epmctl.documents.shapes import Choice, Key, Nested, Shape, Text

SPECS: Final[Mapping[Kind, Shape]] = {
    Kind.ElevationSettingsPolicy: tables.SETTINGS_POLICY,
    Kind.ElevationRulesPolicy: tables.RULES_POLICY,
    Kind.ReusableCertificate: tables.REUSABLE_CERTIFICATE,
    Kind.Group: tables.GROUP,
    Kind.Role: accesstables.ROLE,
    Kind.Principal: accesstables.PRINCIPAL,
    Kind.PrincipalGroup: accesstables.PRINCIPAL_GROUP,
    Kind.RoleAssignment: accesstables.ROLE_ASSIGNMENT,
    Kind.ScopeTag: accesstables.SCOPE_TAG,
    Kind.TrustedIssuer: accesstables.TRUSTED_ISSUER,
}
TOLD: Final[Mapping[Kind, str]] = {
    Kind.ElevationSettingsPolicy: "Switches elevation on or off, and says what holds where no rule recognises a file.",
    Kind.ElevationRulesPolicy: "Rules for one platform: which files may be elevated, and how.",
    Kind.ReusableCertificate: "A certificate that many rules name.",
    Kind.Group: "Devices or users under one name.",
    Kind.Role: "A named set of rights of administrators.",
    Kind.Principal: "Who an administrator is at endpoints, so that nobody approves their own request.",
    Kind.PrincipalGroup: "Administrators under one name.",
    Kind.RoleAssignment: "Gives a role to administrators, within scopes.",
    Kind.ScopeTag: "A tag that objects and role assignments carry.",
    Kind.TrustedIssuer: "An identity provider whose tokens are believed.",
}


def document_shape(spec: Shape) -> Shape:
    """Give the table of a document whose spec has this table."""
    return Shape(
        title="Document",
        keys={
            "apiVersion": Key(Text(), "Version of the document form.", required=True),
            "kind": Key(Choice(Kind), "What the document describes.", required=True),
            "metadata": Key(Nested(shape=tables.METADATA), "What every object has.", required=True),
            "spec": Key(Nested(shape=spec), "The object itself.", required=True),
        },
    )


ANY_DOCUMENT: Final = document_shape(Shape(title="Spec", keys={}))
"""The table of a document whose kind is not known yet; its spec is opened by that of its kind."""
