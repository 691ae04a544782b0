"""Every RPC of the contracts with the rule that it declares, and requests that bring out what it asks for."""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from epm.access.v1 import options_pb2, queries_pb2
from epm.device.v1 import devices_pb2, groups_pb2
from epm.policy.v1 import policies_pb2
from epm.rbac.v1 import rbac_pb2

Ways = tuple[frozenset[str], ...]
"""The sets of rights of which each is enough; an empty set is always enough."""

ANYBODY: Ways = (frozenset(),)
OWNER_ALONE = {"rbac.RbacService.DeleteTrustedIssuer", "rbac.RbacService.ApplyAccess (trusted issuers)"}
"""What speaks for anybody, so that no right is enough for it."""

SOMEBODY_ELSE = queries_pb2.AccessQuestion(principal="user:somebody-else", right="devices.read")


@dataclass(frozen=True)
class Probe:
    """One call that shows what an RPC asks for."""

    label: str
    path: str
    request: Message
    ways: Ways

    @property
    def owner_alone(self) -> bool:
        """Tell whether no right is enough, because an Owner alone may do it."""
        return self.label in OWNER_ALONE

    @property
    def needs(self) -> str:
        """Return what is needed, as people read it."""
        rights = " or ".join(" and ".join(sorted(way)) for way in self.ways) or "-"
        return f"{rights} and to be an Owner" if self.owner_alone else rights

    def enough(self, rights: frozenset[str]) -> bool:
        """Tell whether these rights are enough."""
        return not self.owner_alone and any(way <= rights for way in self.ways)


@cache
def methods() -> tuple[MethodDescriptor, ...]:
    """Return the methods of all contracts, by service and in the order of the contract."""
    generated = Path(options_pb2.__file__).parents[3]
    names = (path.relative_to(generated).with_suffix("").parts for path in generated.glob("epm/*/v1/*_pb2.py"))
    files = [importlib.import_module(".".join(name)) for name in names]
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    return tuple(method for service in sorted(services, key=lambda one: one.full_name) for method in service.methods)


def rule_of(method: MethodDescriptor) -> options_pb2.AccessRule:
    """Return the rule that a method declares."""
    return method.GetOptions().Extensions[options_pb2.access]


def path_of(method: MethodDescriptor) -> str:
    """Return the path by which a method is called."""
    return f"/{method.containing_service.full_name}/{method.name}"


def label_of(method: MethodDescriptor) -> str:
    """Return the name of a method as people read it."""
    return path_of(method).removeprefix("/epm.").replace(".v1.", ".").replace("/", ".")


def for_callers(*callers: "options_pb2.Caller.ValueType") -> tuple[MethodDescriptor, ...]:
    """Return the methods that let in callers of one of the kinds."""
    return tuple(method for method in methods() if set(callers) & set(rule_of(method).callers))


def empty(method: MethodDescriptor) -> Message:
    """Return a request that says nothing."""
    return message_factory.GetMessageClass(method.input_type)()


def probes() -> Iterator[Probe]:
    """Give a probe for every RPC of administrators, and more where the rights follow from the request."""
    for method in for_callers(options_pb2.CALLER_ADMINISTRATOR):
        rule, path = rule_of(method), path_of(method)
        label = label_of(method)
        shown = ANY_RIGHT[method.name] if rule.any_right else [("", empty(method), _ways(rule.right))]
        for about, request, ways in [*shown, *MORE.get(method.name, ())]:
            yield Probe(f"{label} {about}".strip(), path, request, ways)


def _ways(*ways: str) -> Ways:
    return tuple(frozenset(way.split()) for way in ways)


def _of_access(about: str, ways: Ways, **objects: object) -> tuple[str, Message, Ways]:
    return about, rbac_pb2.ApplyAccessRequest(validate_only=True, **objects), ways  # type: ignore[arg-type]


ANY_RIGHT: dict[str, list[tuple[str, Message, Ways]]] = {
    "WhoAmI": [("", rbac_pb2.WhoAmIRequest(), ANYBODY)],
    "ApplyAccess": [
        _of_access("(nothing)", ANYBODY),
        _of_access("(roles)", _ways("roles.create roles.update"), roles=[rbac_pb2.Role()]),
        _of_access("(principals)", _ways("roles.assign"), principals=[rbac_pb2.Principal()]),
        _of_access("(principal groups)", _ways("roles.assign"), principal_groups=[rbac_pb2.PrincipalGroup()]),
        _of_access("(assignments)", _ways("roles.assign"), role_assignments=[rbac_pb2.RoleAssignment()]),
        _of_access("(trusted issuers)", _ways("roles.assign"), trusted_issuers=[rbac_pb2.TrustedIssuer()]),
        _of_access("(scope tags)", _ways("scope_tags.manage"), scope_tags=[rbac_pb2.ScopeTag()]),
    ],
    "ApplyGroups": [("", groups_pb2.ApplyGroupsRequest(), _ways("groups.create", "groups.update"))],
    "ApplyPolicies": [
        (
            "",
            policies_pb2.ApplyPoliciesRequest(),
            _ways(
                "policy_authoring.create",
                "policy_authoring.update",
                "policy_authoring.assign",
                "policy_authoring.delete",
            ),
        )
    ],
    "Check": [
        ("(oneself)", queries_pb2.CheckRequest(), ANYBODY),
        ("(another)", queries_pb2.CheckRequest(question=SOMEBODY_ELSE), _ways("roles.read")),
    ],
    "BatchCheck": [
        ("(oneself)", queries_pb2.BatchCheckRequest(), ANYBODY),
        ("(another)", queries_pb2.BatchCheckRequest(questions=[SOMEBODY_ELSE]), _ways("roles.read")),
    ],
    "ListAllowedScopes": [
        ("(oneself)", queries_pb2.ListAllowedScopesRequest(right="devices.read"), ANYBODY),
        (
            "(another)",
            queries_pb2.ListAllowedScopesRequest(principal="user:somebody-else", right="devices.read"),
            _ways("roles.read"),
        ),
    ],
    "ListRights": [
        ("(oneself)", queries_pb2.ListRightsRequest(), ANYBODY),
        ("(another)", queries_pb2.ListRightsRequest(principal="user:somebody-else"), _ways("roles.read")),
    ],
    "Explain": [
        ("(oneself)", queries_pb2.ExplainRequest(), ANYBODY),
        ("(another)", queries_pb2.ExplainRequest(question=SOMEBODY_ELSE), _ways("roles.read")),
    ],
}
"""What the RPCs ask for that let in every administrator: it follows from the request."""

_TARGETS = policies_pb2.Assignments(exclude=[policies_pb2.ExcludedGroup(group="all-devices")])
_ASSIGNING = _ways("policy_authoring.create policy_authoring.assign")
MORE: dict[str, list[tuple[str, Message, Ways]]] = {
    "CreateSettingsPolicy": [
        (
            "(assigned)",
            policies_pb2.CreateSettingsPolicyRequest(settings_policy=policies_pb2.SettingsPolicy(assignments=_TARGETS)),
            _ASSIGNING,
        )
    ],
    "CreateRulesPolicy": [
        (
            "(assigned)",
            policies_pb2.CreateRulesPolicyRequest(rules_policy=policies_pb2.RulesPolicy(assignments=_TARGETS)),
            _ASSIGNING,
        )
    ],
    "CreateEnrolmentToken": [
        (
            "(into groups)",
            devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=devices_pb2.EnrolmentToken(groups=["kiosks"])),
            _ways("devices.enroll groups.update"),
        )
    ],
}
"""Requests that ask for more than the rule of their RPC."""
