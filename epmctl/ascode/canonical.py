"""Documents in one form: the same state is the same document, key by key and line by line.

Kinds stand in an order in which what is named comes before what names it, objects of a kind by name, keys in the order of
the contract, and what is a set is sorted. Rules and the entries of assignments keep their author's order.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeAlias, cast

from google.protobuf.message import Message

from epmctl.documents.model import Document, Kind
from epmctl.documents.wire import Requests, to_requests
from epmctl.documents.written import to_document
from epmctl.output import Plain, Record, to_yaml
from epmctl.plain import to_plain

Ref: TypeAlias = tuple[Kind, str]
"""Kind and name of an object."""

KIND_ORDER: Final = (
    Kind.ScopeTag,
    Kind.Role,
    Kind.Principal,
    Kind.PrincipalGroup,
    Kind.RoleAssignment,
    Kind.TrustedIssuer,
    Kind.Group,
    Kind.ReusableCertificate,
    Kind.ElevationSettingsPolicy,
    Kind.ElevationRulesPolicy,
)
POLICY_KINDS: Final = frozenset({Kind.ReusableCertificate, Kind.ElevationSettingsPolicy, Kind.ElevationRulesPolicy})
"""Kinds that have labels and revisions."""

FIELDS: Final[Mapping[str, Kind]] = {
    "roles": Kind.Role,
    "principals": Kind.Principal,
    "principal_groups": Kind.PrincipalGroup,
    "role_assignments": Kind.RoleAssignment,
    "scope_tags": Kind.ScopeTag,
    "trusted_issuers": Kind.TrustedIssuer,
    "groups": Kind.Group,
    "reusable_certificates": Kind.ReusableCertificate,
    "settings_policies": Kind.ElevationSettingsPolicy,
    "rules_policies": Kind.ElevationRulesPolicy,
}
"""The kinds by the fields of the requests that carry them."""

_SETS: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.ElevationSettingsPolicy: frozenset({"validations"}),
    Kind.Group: frozenset({"members", "groups"}),
    Kind.Role: frozenset({"rights"}),
    Kind.Principal: frozenset({"endpointUsers"}),
    Kind.PrincipalGroup: frozenset({"members"}),
    Kind.RoleAssignment: frozenset({"members", "scopeGroups", "scopeTags"}),
}
_SETS_OF_RULES: Final = frozenset({"validations"})


def place_in_order(ref: Ref) -> tuple[int, str]:
    """Give what sorts objects."""
    return KIND_ORDER.index(ref[0]), ref[1]


def of_message(kind: Kind, message: Message) -> dict[str, Plain]:
    """Give the document of a message, without what the server adds."""
    return of_plain(kind, to_plain(message))


def of_plain(kind: Kind, plain: Record) -> dict[str, Plain]:
    """Give the document of a message in its plain form, without what the server adds."""
    document = to_document(kind, plain)
    document.pop("status", None)
    metadata, spec = dict(cast("Record", document["metadata"])), dict(cast("Record", document["spec"]))
    document["metadata"] = _sorted(metadata, frozenset({"scopeTags"}))
    document["spec"] = _sorted(spec, _SETS.get(kind, frozenset()))
    if kind is Kind.ElevationRulesPolicy:
        rules = cast("Iterable[Record]", spec["rules"])
        cast("dict[str, Plain]", document["spec"])["rules"] = [_sorted(dict(rule), _SETS_OF_RULES) for rule in rules]
    return document


def of_documents(documents: Iterable[Document]) -> dict[Ref, dict[str, Plain]]:
    """Give the canonical documents that files come to."""
    return dict(_canonical(to_requests(documents)))


def stream(documents: Iterable[Record]) -> str:
    """Write documents one after the other, ready for `epm apply -f -`."""
    return "---\n".join(to_yaml(document) for document in documents)


def _canonical(requests: Requests) -> Iterator[tuple[Ref, dict[str, Plain]]]:
    for request in (requests.access, requests.groups, requests.policies):
        for field, kind in FIELDS.items():
            for message in getattr(request, field, ()):
                document = of_message(kind, message)
                name = cast("str", cast("Record", document["metadata"])["name"])
                yield (kind, name), document


def _sorted(keys: dict[str, Plain], sets: frozenset[str]) -> dict[str, Plain]:
    return {key: sorted(cast("list[str]", value)) if key in sets else value for key, value in keys.items()}
