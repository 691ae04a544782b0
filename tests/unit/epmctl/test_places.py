"""What a service says of a field of its contract, the user reads of a key of a document."""

import pytest

from epmctl.documents.model import Kind
from epmctl.documents.places import key_of


@pytest.mark.parametrize(
    ("kind", "field", "key"),
    [
        (Kind.Role, "name", "metadata.name"),
        (Kind.Role, "description", "metadata.description"),
        (Kind.Role, "rights", "spec.rights"),
        (Kind.RoleAssignment, "scope_groups[1]", "spec.scopeGroups[1]"),
        (Kind.RoleAssignment, "scope_tags", "spec.scopeTags"),
        (Kind.Group, "scope_tags", "metadata.scopeTags"),
        (Kind.Group, "filter", "spec.filter"),
        (Kind.ElevationSettingsPolicy, "metadata.scope_tags", "metadata.scopeTags"),
        (Kind.ElevationSettingsPolicy, "settings.default_response", "spec.defaultResponse"),
        (Kind.ElevationSettingsPolicy, "assignments.include[0].filter_mode", "spec.assignments.include[0].filterMode"),
        (Kind.ElevationRulesPolicy, "rules[3].detection.file_hash", "spec.rules[3].detection.fileHash"),
        (Kind.ElevationRulesPolicy, "rules[0].arguments.command_lines[2]", "spec.rules[0].arguments[2]"),
        (Kind.ElevationRulesPolicy, "rules[0].lint_ignores[1].finding", "spec.rules[0].lint[1].ignore"),
        (Kind.ElevationRulesPolicy, "rules[0].name", "spec.rules[0].name"),
        (Kind.ReusableCertificate, "pem", "spec.pem"),
        (Kind.ScopeTag, "", ""),
    ],
)
def test_a_field_of_the_contract_is_a_key_of_the_document(kind: Kind, field: str, key: str) -> None:
    assert key_of(kind, field) == key
