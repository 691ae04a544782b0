"""Sets of documents of all kinds, drawn at random, that a server accepts: names and texts hold whatever is allowed."""

import string
from typing import Any, Final

from hypothesis import strategies as st

from tests.builders.documents import HASH
from tests.builders.elevation import pem

Document = dict[str, Any]

_ODD: Final = string.ascii_letters + string.digits + " .-_/\\%~:#'\"!&*{}[],?|<>=@`äÄß日本é"
_RIGHTS: Final = ("policy_authoring.read", "devices.read", "groups.read", "audit.read", "scope_tags.read")
_CERTIFICATES: Final = ("vendor", "issuing", "root")


def _is_plain(text: str) -> bool:
    return bool(text.strip()) and text == text.strip()


NAMES: Final = st.text(_ODD, min_size=1, max_size=24).filter(_is_plain)
_TEXTS: Final = st.text(_ODD, max_size=30).map(str.strip)
_PLAIN: Final = st.text(string.ascii_letters, min_size=1, max_size=8)


def _named(draw: st.DrawFn, strategy: st.SearchStrategy[str], most: int) -> list[str]:
    return draw(st.lists(strategy, max_size=most, unique_by=str.casefold))


def _document(kind: str, name: str, spec: Document, **metadata: Any) -> Document:
    said = {key: value for key, value in metadata.items() if value}
    return {"apiVersion": "openepm/v1", "kind": kind, "metadata": {"name": name, **said}, "spec": spec}


def _about(draw: st.DrawFn, tags: list[str]) -> dict[str, Any]:
    return {
        "description": draw(_TEXTS),
        "scopeTags": draw(st.lists(st.sampled_from(tags), max_size=2, unique=True)) if tags else [],
        "labels": draw(st.dictionaries(_PLAIN, _PLAIN, max_size=2)),
    }


def _assignments(draw: st.DrawFn, groups: list[str]) -> Document:
    drawn = draw(st.lists(st.sampled_from(groups), max_size=3, unique=True)) if groups else []
    narrowed: tuple[Document, ...] = (
        {},
        {"filter": 'os = "linux"'},
        {"filter": 'name = "ws-1"', "filterMode": "EXCLUDE"},
    )
    include = [{"group": name, **draw(st.sampled_from(narrowed))} for name in drawn[:2]]
    exclude = [{"group": name} for name in drawn[2:]]
    written = {"include": include, "exclude": exclude}
    return {"assignments": {side: entries for side, entries in written.items() if entries}} if drawn else {}


def _accepted(draw: st.DrawFn) -> Document:
    """Draw findings that the author accepts."""
    ids = draw(st.lists(st.sampled_from(["L7", "L18", "L26"]), max_size=2, unique=True))
    return {"lint": [{"ignore": check, "reason": "known: 'so' be it"} for check in ids]} if ids else {}


def _rule(draw: st.DrawFn, name: str, certificates: list[str]) -> Document:
    detection: Document = {"fileName": draw(st.sampled_from(["setup.exe", "tool.exe"])), "fileHash": HASH}
    if bool(certificates) and draw(st.booleans()):
        detection["certificate"] = {"reusable": draw(st.sampled_from(certificates)), "type": "PUBLISHER"}
    elif draw(st.booleans()):
        detection["certificate"] = {"pem": pem("root"), "type": "CERTIFICATE_AUTHORITY"}
    rule: Document = {"name": name, "elevationType": draw(st.sampled_from(["USER_CONFIRMED", "DENY"]))}
    if description := draw(st.sampled_from(["", "one line", "two\nlines", "ends\n", "a: b # c"])):
        rule["description"] = description
    if rule["elevationType"] == "USER_CONFIRMED" and draw(st.booleans()):
        rule["arguments"] = draw(st.lists(st.sampled_from(["", "/s", "/s /log", "- x: 'y'"]), max_size=3, unique=True))
    return {**rule, "detection": detection, **_accepted(draw)}


@st.composite
def document_sets(draw: st.DrawFn) -> list[Document]:
    """Draw documents that fit one another."""
    tags, certificates = _named(draw, NAMES, 2), _named(draw, NAMES, 2)
    users, devices = _named(draw, NAMES, 2), _named(draw, _PLAIN.map("devices {}".format), 2)
    roles, people = _named(draw, NAMES.map("role {}".format), 2), _named(draw, NAMES, 2)
    found = [_document("ScopeTag", name, {}, description=draw(_TEXTS)) for name in tags]
    for name in roles:
        rights = draw(st.lists(st.sampled_from(_RIGHTS), min_size=1, unique=True))
        found.append(_document("Role", name, {"rights": rights}, description=draw(_TEXTS)))
    members = st.lists(_PLAIN.map("user:{}".format), max_size=3, unique=True)
    known_as = st.lists(_PLAIN, max_size=3, unique=True)
    found += [_document("Principal", name, {"endpointUsers": draw(known_as)}) for name in people]
    found += [_document("PrincipalGroup", name, {"members": draw(members)}) for name in people]
    for name in roles:
        given = [f"group:{group}" for group in people] or ["user:nobody"]
        spec: Document = {"role": name, "members": given, "scopeGroups": ["all-devices"], "scopeTags": tags}
        if draw(st.booleans()):
            spec["expires"] = "2099-01-01T00:00:00Z"
        found.append(_document("RoleAssignment", f"to {name}", spec))
    names = st.lists(_PLAIN, max_size=4, unique=True)
    for name in users:
        about = {key: value for key, value in _about(draw, tags).items() if key != "labels"}
        found.append(_document("Group", name, {"type": "USER", "members": draw(names)}, **about))
    for name in devices:
        by: Document = draw(st.sampled_from([{"filter": 'tag = "x" OR os = "linux"'}, {"members": ["ws-1", "ws-2"]}]))
        found.append(_document("Group", name, {"type": "DEVICE", **by}))
    for name in certificates:
        spec = {"pem": pem(draw(st.sampled_from(_CERTIFICATES))), **_accepted(draw)}
        found.append(_document("ReusableCertificate", name, spec, **_about(draw, tags)))
    groups = [*devices, "all-devices"]
    for name in _named(draw, NAMES, 2):
        spec = {
            "enabled": draw(st.booleans()),
            "defaultResponse": "DENY",
            "sendReportingData": draw(st.booleans()),
            "staleAfter": draw(st.sampled_from([None, "P30D", "P1DT12H"])),
            **_accepted(draw),
        }
        found.append(
            _document("ElevationSettingsPolicy", name, spec | _assignments(draw, groups), **_about(draw, tags))
        )
    for name in _named(draw, NAMES, 2):
        rules = [_rule(draw, rule, certificates) for rule in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))]
        spec = {"platform": "WINDOWS", "rules": rules, **_assignments(draw, [*users, "all-users"]), **_accepted(draw)}
        found.append(_document("ElevationRulesPolicy", name, spec, **_about(draw, tags)))
    return found
