"""Documents and attempts as text, the way people write them into files."""

import json
from collections.abc import Mapping
from pathlib import Path

HASH = "a" * 64

SETTINGS = """\
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec: {assignments: {include: [{group: all-devices}]}}
"""

RULES = f"""\
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {{name: developer-tools}}
spec:
  platform: WINDOWS
  rules:
    - name: vscode-setup
      validations: [BUSINESS_JUSTIFICATION]
      detection: {{fileName: "VSCodeSetup*.exe", fileHash: "{HASH}"}}
      arguments: ["/silent", "/silent /log"]
  assignments: {{include: [{{group: developers}}]}}
"""

GROUP = """\
apiVersion: openepm/v1
kind: Group
metadata: {name: developers}
spec: {type: USER, members: [alice, bob]}
"""


def document(kind: str, name: str, spec: str) -> str:
    """Write one document; `spec` is YAML in braces."""
    return f"apiVersion: openepm/v1\nkind: {kind}\nmetadata: {{name: {json.dumps(name)}}}\nspec: {spec}\n"


def write_documents(folder: Path, *documents: str, name: str = "documents.yaml") -> Path:
    """Write documents into one file of `folder` and give the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("---\n".join(documents), encoding="utf-8")
    return path


def attempt_json(**changes: object) -> dict[str, object]:
    """Give an attempt with every key; `changes` replace top-level keys."""
    attempt: dict[str, object] = {
        "device": {"name": "ws-17", "groups": ["all-devices"], "attributes": {"os": "windows"}},
        "user": {"name": "alice", "groups": ["developers"], "administrator": False},
        "trigger": "REQUEST",
        "platform": "WINDOWS",
        "file": file_json(),
        "arguments": ["/silent"],
        "parent": None,
        "grants": [],
        "policyConfirmed": "2026-11-23T11:59:00Z",
        "now": "2026-11-23T12:00:00Z",
    }
    return {**attempt, **changes}


def file_json(**changes: object) -> dict[str, object]:
    """Give the evidence of a file with every key; `changes` replace some."""
    evidence: Mapping[str, object] = {
        "path": "C:\\Installers\\VSCodeSetup-x64.exe",
        "sha256": HASH,
        "version": "1.84.2.0",
        "description": "",
        "productName": "",
        "internalName": "",
        "companyName": "",
        "rootOnlyPath": False,
        "signers": [],
    }
    return {**evidence, **changes}


def grant_json(**changes: object) -> dict[str, object]:
    """Give a grant with every key; `changes` replace some."""
    grant: dict[str, object] = {
        "id": "g1",
        "user": "alice",
        "device": "ws-17",
        "sha256": HASH,
        "arguments": None,
        "notBefore": "2026-11-23T00:00:00Z",
        "expires": "2026-11-24T00:00:00Z",
        "usesLeft": None,
    }
    return {**grant, **changes}
