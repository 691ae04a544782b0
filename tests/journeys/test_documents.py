"""Documents on their way to the real services and back: what was applied is shown, and applying that changes nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
import yaml

from tests.builders.documents import HASH
from tests.builders.elevation import pem
from tests.builders.installation import Installation, installation

pytestmark = pytest.mark.xdist_group("documents")
CERTIFICATE = "".join(f"    {line}\n" for line in pem("vendor").splitlines())
DOCUMENTS = f"""
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {{name: workstations, description: "on, with questions", scopeTags: [default, emea], labels: {{owner: "1.0"}}}}
spec:
  defaultResponse: USER_CONFIRMED
  validations: [AUTHENTICATION, BUSINESS_JUSTIFICATION]
  reportingScope: MANAGED
  staleAfter: P1DT12H
  assignments:
    include: [{{group: all-devices, filter: 'tag = "kiosk"', filterMode: EXCLUDE}}, {{group: laptops}}]
    exclude: [{{group: finance}}]
---
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {{name: kiosks}}
spec: {{enabled: false, sendReportingData: false, staleAfter: null}}
---
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {{name: developer-tools}}
spec:
  platform: WINDOWS
  rules:
    - name: setup
      description: "first\\nand second line"
      elevationType: USER_CONFIRMED
      validations: [BUSINESS_JUSTIFICATION]
      childProcesses: ALLOW
      detection:
        fileName: "Setup*.exe"
        filePath: 'C:\\Installers'
        certificate: {{reusable: vendor, type: PUBLISHER}}
        minimumVersion: "1.80"
        fileDescription: Setup
        productName: "yes"
        internalName: setup
      arguments: ["/silent", "/silent /log"]
      lint: [{{ignore: L7, reason: "installed by many paths"}}]
    - name: console
      elevationType: AUTOMATIC
      detection: {{fileName: console.exe, fileHash: "{HASH}"}}
      arguments: []
    - name: game
      elevationType: DENY
      detection:
        fileName: game.exe
        certificate:
          type: CERTIFICATE_AUTHORITY
          pem: |
{"".join(f"        {line}" for line in CERTIFICATE.splitlines(keepends=True))}
  assignments: {{include: [{{group: developers}}], exclude: [{{group: contractors}}]}}
---
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {{name: linux-tools}}
spec:
  platform: LINUX
  rules: [{{name: id, elevationType: USER_CONFIRMED, childProcesses: DENY, detection: {{fileName: id, filePath: /usr/bin}}}}]
---
apiVersion: openepm/v1
kind: ReusableCertificate
metadata: {{name: vendor, labels: {{expires: soon}}}}
spec:
  pem: |
{CERTIFICATE}
---
apiVersion: openepm/v1
kind: Group
metadata: {{name: developers, description: who develops}}
spec: {{type: USER, members: [alice, bob]}}
---
apiVersion: openepm/v1
kind: Group
metadata: {{name: contractors}}
spec: {{type: USER}}
---
apiVersion: openepm/v1
kind: Group
metadata: {{name: finance}}
spec: {{type: DEVICE, filter: 'tag = "finance"'}}
---
apiVersion: openepm/v1
kind: Group
metadata: {{name: laptops, scopeTags: [emea]}}
spec: {{type: DEVICE, members: [ws-1]}}
---
apiVersion: openepm/v1
kind: Role
metadata: {{name: Tier 2 approver, description: answers}}
spec: {{rights: [policy_authoring.read, elevation_requests.view]}}
---
apiVersion: openepm/v1
kind: PrincipalGroup
metadata: {{name: tier2}}
spec: {{members: ["user:carol@example.com"]}}
---
apiVersion: openepm/v1
kind: PrincipalGroup
metadata: {{name: nobody-yet}}
spec: {{members: []}}
---
apiVersion: openepm/v1
kind: RoleAssignment
metadata: {{name: tier2-emea}}
spec:
  role: Tier 2 approver
  members: ["group:tier2"]
  scopeGroups: [all-devices, developers]
  scopeTags: [emea]
  expires: 2099-01-01T00:00:00Z
---
apiVersion: openepm/v1
kind: ScopeTag
metadata: {{name: emea, description: Europe}}
spec: {{}}
"""
KINDS = (
    "settings-policies",
    "rules-policies",
    "certificates",
    "groups",
    "roles",
    "principal-groups",
    "role-assignments",
    "scope-tags",
)


@dataclass(frozen=True)
class House:
    """An installation, and what became of the documents when they were applied to it first."""

    installed: Installation
    first: list[str]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with installation(tmp_path_factory.mktemp("house")) as installed:
        yield House(installed, installed.apply(DOCUMENTS).output.splitlines())


def test_everything_is_new_at_first(house: House) -> None:
    assert [line.split()[0] for line in house.first] == ["created"] * len(DOCUMENTS.split("\n---\n"))


def test_what_is_shown_can_be_applied_again_and_changes_nothing(house: House) -> None:
    shown = [house.installed.must("epm", "get", kind, "--output", "yaml").output for kind in KINDS]

    again = house.installed.must("epm", "apply", "-f", "-", text="---\n".join(shown))

    lines = [line.split(maxsplit=1) for line in again.output.splitlines()]
    assert {action for action, _ in lines} == {"unchanged"}
    created = {line.split(maxsplit=1)[1] for line in house.first}
    assert {named for _, named in lines} == created | {"RoleAssignment owner"}


def test_the_authors_words_come_back_to_the_letter(house: House) -> None:
    shown = [house.installed.must("epm", "get", kind, "--output", "json").json() for kind in KINDS]

    found = {(document["kind"], document["metadata"]["name"]): document for kind in shown for document in kind}
    for document in yaml.safe_load_all(DOCUMENTS.replace("2099-01-01T00:00:00Z", '"2099-01-01T00:00:00Z"')):
        there = found[document["kind"], document["metadata"]["name"]]
        assert _stated(document["spec"]).items() <= _stated(there["spec"]).items()
        assert _stated(document["metadata"]).items() <= _stated(there["metadata"]).items()


def test_a_policy_for_a_group_that_is_not_there_writes_nothing_anywhere(house: House) -> None:
    group = "kind: Group\nmetadata: {name: newcomers}\nspec: {type: USER}\n"
    policy = "kind: ElevationSettingsPolicy\nmetadata: {name: new}\nspec: {assignments: {include: [{group: nobody}]}}\n"
    documents = "".join(f"---\napiVersion: openepm/v1\n{document}" for document in (group, policy))

    refused = house.installed.run("epm", "apply", "-f", "-", text=documents)

    looked_for = house.installed.run("epm", "get", "group", "newcomers")
    assert (refused.code, refused.output) == (2, "")
    assert "<stdin>:10: spec.assignments.include[0].group: " in refused.errors
    assert refused.errors.endswith("nothing was applied\n")
    assert looked_for.code == 1


def _stated(spec: Mapping[str, object]) -> dict[str, str]:
    """Give what a mapping says, comparable: empty says nothing, and sets come back in another order."""
    return {key: repr(_ordered(value)) for key, value in spec.items() if value != []}


def _ordered(value: object) -> object:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        items = [_ordered(item) for item in value]
        return sorted(items, key=str) if all(isinstance(item, str) for item in items) else items
    return value
