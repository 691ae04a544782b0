"""Bind requests to a plan: each service is told what its objects have to be like, and which ones to delete."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from epm.device.v1 import groups_pb2
from epm.policy.v1 import policies_pb2
from epm.rbac.v1 import rbac_pb2
from epmctl.ascode.canonical import POLICY_KINDS, Ref
from epmctl.ascode.plan import Action, Owner, Plan
from epmctl.documents.model import Kind
from epmctl.documents.wire import Requests

_Request: TypeAlias = rbac_pb2.ApplyAccessRequest | groups_pb2.ApplyGroupsRequest | policies_pb2.ApplyPoliciesRequest


@dataclass(frozen=True, slots=True)
class Terms:
    """What a change was planned against (etags; an empty one: not there), and what it deletes."""

    etags: Mapping[Ref, str]
    deletions: tuple[Ref, ...] = field(default=())
    owner: Owner | None = None


def terms_of(plan: Plan) -> Terms:
    """Give the terms of a plan."""
    etags = {one.ref: one.etag for one in plan.objects}
    deletions = tuple(one.ref for one in plan.objects if one.action is Action.DELETE)
    return Terms(etags, deletions, plan.owner if deletions else None)


def bind(requests: Requests, terms: Terms) -> None:
    """Put the terms into the requests."""
    for (kind, name), etag in terms.etags.items():
        _request_of(requests, kind).expected.add(kind=kind.name, name=name, etag=etag)
    policies = requests.policies
    for kind, name in terms.deletions:
        policies.deletions.add(kind=kind.name, name=name)
    if terms.owner is not None:
        policies.owner.key, policies.owner.value = terms.owner.key, terms.owner.value
    if policies.ByteSize():
        policies.as_code = True


def kinds_of(refs: Iterable[Ref]) -> list[Kind]:
    """Give the kinds that there are among objects, each once, in the order of their definition."""
    found = {kind for kind, _ in refs}
    return [kind for kind in Kind if kind in found]


def _request_of(requests: Requests, kind: Kind) -> _Request:
    if kind in POLICY_KINDS:
        return requests.policies
    return requests.groups if kind is Kind.Group else requests.access
