"""Write objects of the server in the document form, so that what `epm get` shows can be applied again.

A document says what its author decides; what the server adds (revision, etag, times) stands apart, under `status`.
Fields that are blank are left out where a document may leave them out.
"""

from collections.abc import Mapping, Sequence
from typing import Final, cast

from epmctl.documents.model import API_VERSION, Kind
from epmctl.output import Plain, Record

_OF_AUTHOR: Final = ("name", "description", "scopeTags", "labels")
_ADDED: Final = (
    "builtIn",
    "revision",
    "etag",
    "created",
    "createdBy",
    "updated",
    "updatedBy",
    "change",
    "appliedChange",
)
_COPIED: Final[Mapping[Kind, Sequence[str]]] = {
    Kind.ReusableCertificate: ("pem",),
    Kind.Group: ("type", "members", "groups", "filter"),
    Kind.Role: ("rights",),
    Kind.RoleAssignment: ("role", "members", "scopeGroups", "scopeTags", "expires"),
    Kind.ScopeTag: (),
    Kind.TrustedIssuer: (
        "issuer",
        "audiences",
        "jwksUri",
        "jwks",
        "principalClaim",
        "principalPrefix",
        "groupsClaim",
        "groupMappings",
        "clientId",
    ),
}
_FACTS: Final[Mapping[Kind, Sequence[str]]] = {
    Kind.ReusableCertificate: ("subject", "issuer", "fingerprint", "notBefore", "notAfter"),
}
"""What the server tells of an object beside its metadata."""
_LINT: Final = {"finding": "ignore", "reason": "reason"}


def to_document(kind: Kind, plain: Record) -> dict[str, Plain]:
    """Give the document of an object, from the plain form of its message, with what the server adds under `status`."""
    metadata = cast("Record", plain.get("metadata") or plain)
    author = {key: metadata[key] for key in _OF_AUTHOR if metadata.get(key) and not _of_spec(kind, key)}
    added = {key: metadata[key] for key in _ADDED if key in metadata}
    added |= {key: plain[key] for key in _FACTS.get(kind, ()) if plain.get(key)}
    document: dict[str, Plain] = {
        "apiVersion": API_VERSION,
        "kind": kind.name,
        "metadata": author,
        "spec": _spec(kind, plain),
    }
    return document | ({"status": added} if added else {})


def _of_spec(kind: Kind, key: str) -> bool:
    return kind is Kind.RoleAssignment and key == "scopeTags"


def _spec(kind: Kind, plain: Record) -> dict[str, Plain]:
    if kind is Kind.ElevationSettingsPolicy:
        return {**_settings(cast("Record", plain["settings"])), **_accepted(plain), **_assignments(plain)}
    if kind is Kind.ElevationRulesPolicy:
        rules = [_rule(rule) for rule in cast("Sequence[Record]", plain["rules"])]
        return {"platform": plain["platform"], "rules": rules, **_accepted(plain), **_assignments(plain)}
    if kind is Kind.Principal:
        return {"endpointUsers": plain["endpointUsers"]}
    if kind is Kind.PrincipalGroup:
        return {"members": plain["members"]}
    return {key: plain[key] for key in _COPIED[kind] if plain.get(key)} | _accepted(plain)


def _settings(settings: Record) -> dict[str, Plain]:
    written = dict(settings)
    if written["reportingScope"] is None:
        del written["reportingScope"]
    return written


def _rule(rule: Record) -> Plain:
    written: dict[str, Plain] = {key: value for key, value in rule.items() if value not in (None, "", [])}
    written.pop("lintIgnores", None)
    detection = cast("Record", rule["detection"] or {})
    written["detection"] = {key: value for key, value in detection.items() if value not in (None, "")}
    if rule["arguments"] is not None:
        written["arguments"] = cast("Record", rule["arguments"])["commandLines"]
    return written | _accepted(rule)


def _accepted(plain: Record) -> dict[str, Plain]:
    """Give the findings that the author accepts, where there are any."""
    ignored = cast("Sequence[Record]", plain.get("lintIgnores") or ())
    entries: list[Plain] = [{_LINT[key]: value for key, value in entry.items()} for entry in ignored]
    return {"lint": entries} if entries else {}


def _assignments(plain: Record) -> dict[str, Plain]:
    assignments = cast("Mapping[str, Sequence[Record]]", plain["assignments"] or {})
    written: dict[str, Plain] = {
        side: [{key: value for key, value in entry.items() if _is_stated(key, entry)} for entry in entries]
        for side, entries in assignments.items()
        if entries
    }
    return {"assignments": written} if written else {}


def _is_stated(key: str, entry: Record) -> bool:
    """Tell whether a document has to say this: without a filter, its mode means nothing."""
    return bool(entry[key]) and (key != "filterMode" or bool(entry["filter"]))
