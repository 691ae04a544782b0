"""Good documents are read whole; files are found, limited and named."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from elevation.model import (
    DEFAULT_STALE_AFTER,
    Group,
    LintIgnore,
    ReusableCertificate,
    RulesPolicy,
    SettingsPolicy,
)
from elevation.words import (
    CertificateType,
    ChildProcesses,
    DefaultResponse,
    ElevationType,
    FilterMode,
    GroupType,
    Platform,
    ReportingScope,
    Validation,
)
from epmctl.documents import files
from epmctl.documents.load import DocumentSet, load
from epmctl.documents.model import (
    GroupMapping,
    Kind,
    Principal,
    PrincipalGroup,
    Role,
    RoleAssignment,
    ScopeTag,
    TrustedIssuer,
)
from epmctl.errors import BadInputError
from tests.builders.documents import GROUP, HASH, RULES, SETTINGS, document, write_documents
from tests.builders.elevation import certificate, pem


def read(folder: Path, *documents: str, closed: bool = True) -> DocumentSet:
    return load([str(write_documents(folder, *documents))], closed=closed)


def refusals(folder: Path, *documents: str, closed: bool = True) -> tuple[str, ...]:
    with pytest.raises(BadInputError) as refused:
        read(folder, *documents, closed=closed)
    return refused.value.lines


def test_a_settings_policy_is_read_with_every_key(tmp_path: Path) -> None:
    spec = """
  enabled: true
  defaultResponse: USER_CONFIRMED
  validations: [AUTHENTICATION, BUSINESS_JUSTIFICATION]
  sendReportingData: true
  reportingScope: MANAGED
  staleAfter: P1W
  assignments:
    include: [{group: all-devices, filter: 'os = "linux"', filterMode: EXCLUDE}]
    exclude: [{group: kiosks}]
"""
    found = read(
        tmp_path, document("ElevationSettingsPolicy", "s", spec), document("Group", "kiosks", "{type: DEVICE}")
    )

    (policy,) = found.settings_policies()
    assert policy.default_response is DefaultResponse.USER_CONFIRMED
    assert policy.validations == {Validation.AUTHENTICATION, Validation.BUSINESS_JUSTIFICATION}
    assert policy.reporting_scope is ReportingScope.MANAGED
    assert policy.stale_after == timedelta(days=7)
    (include,) = policy.assignments.include
    assert (include.group, include.filter, include.filter_mode) == ("all-devices", 'os = "linux"', FilterMode.EXCLUDE)
    assert [exclude.group for exclude in policy.assignments.exclude] == ["kiosks"]


def test_what_a_settings_policy_leaves_out_has_its_default(tmp_path: Path) -> None:
    (policy,) = read(tmp_path, document("ElevationSettingsPolicy", "s", "{}")).settings_policies()

    assert policy == SettingsPolicy("s", enabled=True, stale_after=DEFAULT_STALE_AFTER)


def test_stale_after_null_means_never(tmp_path: Path) -> None:
    (policy,) = read(tmp_path, document("ElevationSettingsPolicy", "s", "{staleAfter: null}")).settings_policies()

    assert policy.stale_after is None


def test_a_rules_policy_is_read_with_every_key(tmp_path: Path) -> None:
    spec = f"""
  platform: WINDOWS
  rules:
    - name: vscode
      description: |
        Two
        lines
      elevationType: CURRENT_USER
      validations: [AUTHENTICATION]
      childProcesses: ALLOW
      detection:
        fileName: "Code*.exe"
        filePath: 'C:\\Installers'
        fileHash: {HASH}
        certificate: {{reusable: vendor, type: CERTIFICATE_AUTHORITY}}
        minimumVersion: 1.80.0.0
        fileDescription: "A"
        productName: "B"
        internalName: null
      arguments: ["/silent", ""]
      lint: [{{ignore: L7, reason: "many paths"}}]
"""
    vendor = document("ReusableCertificate", "vendor", f"\n  pem: |\n{_indented(pem('vendor'))}")
    found = read(tmp_path, document("ElevationRulesPolicy", "p", spec), vendor)

    (policy,) = found.rules_policies()
    (rule,) = policy.rules
    assert policy.platform is Platform.WINDOWS
    assert (rule.elevation_type, rule.child_processes) == (ElevationType.CURRENT_USER, ChildProcesses.ALLOW)
    assert rule.description == "Two\nlines\n"
    assert rule.arguments == ("/silent", "")
    assert [(entry.check, entry.reason) for entry in rule.lint] == [("L7", "many paths")]
    detection = rule.detection
    assert (detection.file_name, detection.file_path, detection.file_hash) == ("Code*.exe", "C:\\Installers", HASH)
    assert (detection.minimum_version, detection.file_description) == ("1.80.0.0", "A")
    assert (detection.product_name, detection.internal_name) == ("B", "")
    assert detection.certificate is not None
    assert (detection.certificate.reusable, detection.certificate.type) == (
        "vendor",
        CertificateType.CERTIFICATE_AUTHORITY,
    )
    assert [entry.certificate for entry in found.reusable_certificates()] == [certificate("vendor")]


def test_arguments_that_are_absent_and_arguments_that_are_empty_differ(tmp_path: Path) -> None:
    detection = f"detection: {{fileName: a.exe, fileHash: {HASH}}}"
    spec = f"{{platform: WINDOWS, rules: [{{name: any, {detection}}}, {{name: none, {detection}, arguments: []}}]}}"

    (policy,) = read(tmp_path, document("ElevationRulesPolicy", "p", spec)).rules_policies()

    assert [rule.arguments for rule in policy.rules] == [None, ()]


def test_the_documents_of_access_are_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        document("Role", "Tier 2 approver", "{rights: [policy_authoring.read, elevation_requests.view]}"),
        document("Principal", "carol@example.com", '{endpointUsers: [carol, "EXAMPLE\\\\carol"]}'),
        document("PrincipalGroup", "tier2", '{members: ["user:carol@example.com"]}'),
        document(
            "RoleAssignment",
            "tier2-emea",
            '{role: Tier 2 approver, members: ["group:tier2"], scopeGroups: [all-devices], scopeTags: [emea], '
            "expires: 2027-01-01T02:00:00+02:00}",
        ),
        document("ScopeTag", "emea", "{}"),
        document(
            "TrustedIssuer",
            "corp",
            "{issuer: 'https://id.example.com', audiences: [epm], principalPrefix: 'corp:', groupsClaim: groups, "
            "groupMappings: [{claimValue: epm-admins, principalGroup: tier2}], clientId: epm-cli}",
        ),
    )

    assert [entry.spec for entry in found.documents] == [
        Role("Tier 2 approver", ("policy_authoring.read", "elevation_requests.view")),
        Principal("carol@example.com", ("carol", "EXAMPLE\\carol")),
        PrincipalGroup("tier2", ("user:carol@example.com",)),
        RoleAssignment(
            "tier2-emea",
            "Tier 2 approver",
            ("group:tier2",),
            ("all-devices",),
            ("emea",),
            datetime(2027, 1, 1, tzinfo=UTC),
        ),
        ScopeTag("emea"),
        TrustedIssuer(
            name="corp",
            issuer="https://id.example.com",
            audiences=("epm",),
            principal_prefix="corp:",
            groups_claim="groups",
            group_mappings=(GroupMapping("epm-admins", "tier2"),),
            client_id="epm-cli",
        ),
    ]


def test_the_file_of_an_issuers_keys_is_read_beside_the_document(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "corp.json").write_text('{"keys": []}')
    issuer = "{issuer: 'https://id.example.com', audiences: [epm], jwksFile: keys/corp.json}"

    (found,) = read(tmp_path, document("TrustedIssuer", "corp", issuer)).documents

    assert isinstance(found.spec, TrustedIssuer)
    assert (found.spec.jwks, found.spec.jwks_uri) == ('{"keys": []}', "")


def test_metadata_is_kept(tmp_path: Path) -> None:
    text = (
        "apiVersion: openepm/v1\nkind: ScopeTag\n"
        'metadata: {name: t, description: "d", scopeTags: [emea], labels: {owner: "team"}}\nspec: {}\n'
    )
    (entry,) = read(tmp_path, text).documents

    assert (entry.kind, entry.name, entry.metadata.description) == (Kind.ScopeTag, "t", "d")
    assert (entry.metadata.scope_tags, dict(entry.metadata.labels)) == (("emea",), {"owner": "team"})


def test_empty_documents_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("---\n---\n# nothing\n---\n" + SETTINGS + "---\nnull\n", encoding="utf-8")

    assert len(load([str(path)], closed=True).documents) == 1


def test_a_name_may_be_any_language(tmp_path: Path) -> None:
    (group,) = read(tmp_path, document("Group", "Prüfgruppe 東京", "{type: USER}")).groups()

    assert group == Group("Prüfgruppe 東京", GroupType.USER)


def test_a_windows_file_with_a_byte_order_mark_and_its_line_ends_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SETTINGS.replace("\n", "\r\n").encode())

    assert len(load([str(path)], closed=True).documents) == 1


def test_a_folder_gives_its_yaml_and_yml_files_and_nothing_deeper(tmp_path: Path) -> None:
    write_documents(tmp_path, SETTINGS, name="a.yaml")
    write_documents(tmp_path, GROUP, name="b.yml")
    write_documents(tmp_path, "broken: [", name="notes.txt")
    write_documents(tmp_path / "deeper", "broken: [", name="c.yaml")
    (tmp_path / "folder.yaml").mkdir()

    assert len(load([str(tmp_path)], closed=True).documents) == 2


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    path = write_documents(tmp_path, SETTINGS)

    assert len(load([str(path), str(tmp_path)], closed=True).documents) == 1


def test_documents_of_several_files_belong_together(tmp_path: Path) -> None:
    write_documents(tmp_path / "rules", RULES)
    write_documents(tmp_path / "groups", GROUP)

    found = load([str(tmp_path / "rules"), str(tmp_path / "groups")], closed=True)

    assert len(found.documents) == 2


def test_one_name_in_two_files_is_refused_and_both_places_are_named(tmp_path: Path) -> None:
    first = write_documents(tmp_path, GROUP, name="a.yaml")
    second = write_documents(tmp_path, GROUP, name="b.yaml")

    with pytest.raises(BadInputError) as refused:
        load([str(tmp_path)], closed=True)

    assert refused.value.lines == (f'{second}:3: metadata.name: Group "developers" stands in {first}:3 too; keep one',)


def test_one_name_in_two_kinds_is_fine(tmp_path: Path) -> None:
    found = read(tmp_path, document("Group", "x", "{type: USER}"), document("ScopeTag", "x", "{}"))

    assert len(found.documents) == 2


def test_a_set_that_is_not_closed_may_name_what_the_server_has(tmp_path: Path) -> None:
    spec = "{platform: WINDOWS, rules: [{name: r, detection: {fileName: a.exe, certificate: {reusable: c, type: PUBLISHER}}}]"
    rules = document("ElevationRulesPolicy", "p", spec + ", assignments: {include: [{group: there}]}}")

    assert isinstance(read(tmp_path, rules, closed=False).documents[0].spec, RulesPolicy)
    assert len(refusals(tmp_path, rules)) == 2


def test_a_set_that_is_not_closed_still_refuses_mixed_targets(tmp_path: Path) -> None:
    spec = "{assignments: {include: [{group: unknown}, {group: all-users}], exclude: [{group: all-devices}]}}"

    (line,) = refusals(tmp_path, document("ElevationSettingsPolicy", "s", spec), closed=False)

    assert "spec.assignments.exclude[0].group" in line


def test_a_group_that_is_too_wrong_to_be_used_still_exists(tmp_path: Path) -> None:
    lines = refusals(tmp_path, SETTINGS, RULES, document("Group", "developers", "{type: PEOPLE}"))

    assert len(lines) == 1
    assert "spec.type" in lines[0]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"gone\.yaml: cannot be read: no such file or directory"):
        load([str(tmp_path / "gone.yaml")], closed=True)


def test_a_folder_without_documents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"holds no \*\.yaml or \*\.yml file"):
        load([str(tmp_path)], closed=True)


def test_a_dangling_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to(tmp_path / "gone")

    with pytest.raises(BadInputError, match=r"a\.yaml: cannot be read"):
        load([str(tmp_path)], closed=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = write_documents(tmp_path, SETTINGS)
    path.chmod(0)

    with pytest.raises(BadInputError, match="cannot be read: permission denied"):
        load([str(path)], closed=True)


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(SETTINGS.encode() + b"# caf\xe9\n")

    with pytest.raises(BadInputError, match=r"a\.yaml:5: not UTF-8 text: byte 0xe9"):
        load([str(path)], closed=True)


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * (files.MAX_FILE_BYTES + 1))

    with pytest.raises(BadInputError, match="larger than 10485760 bytes; split it"):
        load([str(path)], closed=True)


def test_a_control_character_in_the_text_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(SETTINGS.encode() + b"\x00")

    with pytest.raises(BadInputError, match=r"a\.yaml:\d+: not valid YAML"):
        load([str(path)], closed=True)


def test_a_bomb_of_aliases_is_refused_and_never_expands(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]

    found = refusals(tmp_path, "\n".join(lines) + "\n")

    assert any("alias *a0 is not read" in line for line in found)
    assert any("the rest of the file is not read" in line for line in found)
    assert len(found) < 120


def test_a_hundred_thousand_brackets_are_refused(tmp_path: Path) -> None:
    (line,) = refusals(tmp_path, "[" * 100_000)

    assert "nest" in line


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("ElevationSettingsPolicy", "{lint: [{ignore: L18, reason: pilot}]}"),
        ("ElevationRulesPolicy", "{platform: LINUX, rules: [], lint: [{ignore: L18, reason: pilot}]}"),
        ("ReusableCertificate", f"\n  lint: [{{ignore: L18, reason: pilot}}]\n  pem: |\n{_indented(pem('vendor'))}"),
    ],
)
def test_a_policy_and_a_certificate_may_accept_findings(tmp_path: Path, kind: str, spec: str) -> None:
    (found,) = read(tmp_path, document(kind, "it", spec)).documents

    assert isinstance(found.spec, SettingsPolicy | RulesPolicy | ReusableCertificate)
    assert found.spec.lint == (LintIgnore("L18", "pilot"),)


def test_a_finding_that_is_none_is_not_accepted_and_a_reason_has_to_be_given(tmp_path: Path) -> None:
    spec = '{lint: [{ignore: L1000, reason: x}, {ignore: D23, reason: ""}, {ignore: L18}]}'
    lines = refusals(tmp_path, document("ElevationSettingsPolicy", "it", spec))

    assert [line.split(": ", 1)[1] for line in lines] == [
        "spec.lint[0].ignore: is not the name of a check, for example L7",
        "spec.lint[1].reason: must not be blank",
        "spec.lint[2].reason: required key is missing",
    ]
