"""Findings in SARIF 2.1.0, the form in which code hosts and CI take the results of checks."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import PurePath
from typing import Final
from urllib.parse import quote

from elevation.lint.catalogue import CATALOGUE
from epmctl.linting.report import Found
from epmctl.output import Plain
from epmctl.parties import UNSEEN

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"

_LEVELS: Final[Mapping[str, str]] = {"ERROR": "error", "HIGH": "warning", "WARNING": "warning", "INFO": "note"}
_STDIN: Final = "<stdin>"


def as_sarif(findings: Sequence[Found]) -> dict[str, Plain]:
    """Give findings as a SARIF log of one run."""
    checks = sorted({found.check for found in findings})
    rules: list[Plain] = [_rule(check, next(found for found in findings if found.check == check)) for check in checks]
    driver: dict[str, Plain] = {"name": "epm lint", "version": version("openepm"), "rules": rules}
    run: dict[str, Plain] = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(found, checks.index(found.check)) for found in findings],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(check: str, example: Found) -> dict[str, Plain]:
    known = CATALOGUE.get(check)
    return {
        "id": check,
        "shortDescription": {"text": known.title if known else check},
        "fullDescription": {"text": example.why or check},
        "help": {"text": example.remedy or check},
    }


def _result(found: Found, index: int) -> dict[str, Plain]:
    made: dict[str, Plain] = {
        "ruleId": found.check,
        "ruleIndex": index,
        "level": _LEVELS.get(found.severity, "note"),
        "message": {"text": f"{_name(found)}: {' '.join(map(_sentence, filter(None, (found.message, found.remedy))))}"},
        "locations": [_location(found)],
        "properties": {"severity": found.severity, "path": found.path},
    }
    if found.ignored_because:
        made["suppressions"] = [{"kind": "inSource", "justification": found.ignored_because}]
    return made


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _location(found: Found) -> dict[str, Plain]:
    made: dict[str, Plain] = {"logicalLocations": [{"fullyQualifiedName": _name(found), "kind": "object"}]}
    if found.file and found.file != _STDIN:
        made["physicalLocation"] = {
            "artifactLocation": {"uri": _address(found.file)},
            "region": {"startLine": max(found.line, 1)},
        }
    return made


def _address(file: str) -> str:
    """Give the address of a file; code hosts know those that are relative to where the check ran."""
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def _name(found: Found) -> str:
    if not found.name:
        return UNSEEN
    return "/".join(part for part in (found.kind, found.name, found.rule) if part)
