"""What administrators send: drafts of objects, and what is to be done with them."""

from collections.abc import Iterator

from elevation.model import GroupType, ReusableCertificate, RulesPolicy, SettingsPolicy
from epm.policy.v1 import analysis_pb2, policies_pb2
from services._chassis.errors import InvalidError
from services.policy.codec.findings import ignores_from_proto
from services.policy.codec.reading import Reader
from services.policy.model.application import KINDS_BY_NAME, no_kind
from services.policy.model.drafts import Draft, NewAssignments
from services.policy.model.listing import Wanted
from services.policy.model.objects import AnyContent, Item

GROUP_TYPES = {
    policies_pb2.PENDING_GROUP_TYPE_DEVICE: GroupType.DEVICE,
    policies_pb2.PENDING_GROUP_TYPE_USER: GroupType.USER,
}


def settings_policy_from_proto(
    message: policies_pb2.SettingsPolicy, place: str = "settings_policy"
) -> Draft[SettingsPolicy]:
    """Read a settings policy; `place` is where the request holds it."""
    reader = Reader(message)
    return _draft(reader.settings_policy(message), message.metadata, reader, place)


def rules_policy_from_proto(message: policies_pb2.RulesPolicy, place: str = "rules_policy") -> Draft[RulesPolicy]:
    """Read a rules policy; `place` is where the request holds it."""
    reader = Reader(message)
    return _draft(reader.rules_policy(message), message.metadata, reader, place)


def certificate_from_proto(
    message: policies_pb2.ReusableCertificate, place: str = "reusable_certificate"
) -> Draft[ReusableCertificate]:
    """Read a reusable certificate; `place` is where the request holds it."""
    reader = Reader(message)
    certificate = reader.certificate(message.pem, "pem")
    content = ReusableCertificate(
        message.metadata.name, certificate, message.metadata.description, ignores_from_proto(message.lint_ignores)
    )
    return _draft(content, message.metadata, reader, place)


def drafts_from_proto(
    message: policies_pb2.ApplyPoliciesRequest | analysis_pb2.Draft, place: str = ""
) -> Iterator[Draft[AnyContent]]:
    """Read the objects of an apply or a draft, in its order; `place` is where the request holds them."""
    within = f"{place}." if place else ""
    for number, certificate in enumerate(message.reusable_certificates):
        yield certificate_from_proto(certificate, f"{within}reusable_certificates[{number}]")
    for number, settings in enumerate(message.settings_policies):
        yield settings_policy_from_proto(settings, f"{within}settings_policies[{number}]")
    for number, rules in enumerate(message.rules_policies):
        yield rules_policy_from_proto(rules, f"{within}rules_policies[{number}]")


def kind_from_proto(message: policies_pb2.ObjectRef, place: str) -> type[AnyContent]:
    """Read the kind of an object that is named. Raises InvalidError."""
    if message.kind in KINDS_BY_NAME:
        return KINDS_BY_NAME[message.kind]
    raise InvalidError([no_kind(place, message.kind)])


def wanted_from_proto(
    request: policies_pb2.ListSettingsPoliciesRequest
    | policies_pb2.ListRulesPoliciesRequest
    | policies_pb2.ListReusableCertificatesRequest,
) -> Wanted:
    """Read which page of which list is asked for."""
    return Wanted(
        page_size=request.page_size,
        page_token=request.page_token,
        filter=request.filter,
        order_by=request.order_by,
    )


def assignments_from_proto(
    request: policies_pb2.AssignSettingsPolicyRequest | policies_pb2.AssignRulesPolicyRequest,
) -> NewAssignments:
    """Read whom a policy is to reach."""
    reader = Reader(request)
    assignments = reader.assignments(request.assignments)
    return NewAssignments(name=request.name, etag=request.etag, assignments=assignments, flaws=tuple(reader.flaws))


def _draft(content: Item, metadata: policies_pb2.Metadata, reader: Reader, place: str) -> Draft[Item]:
    return Draft(
        place=place,
        content=content,
        scope_tags=frozenset(metadata.scope_tags),
        labels=dict(metadata.labels),
        etag=metadata.etag,
        flaws=tuple(reader.flaws),
    )
