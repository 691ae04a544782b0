"""Who may call which RPC: read from the contracts once, at start, and refused where anything is left open."""

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from epm.access.v1 import options_pb2
from services._chassis.access import AccessControl
from services._chassis.caller import CallerKind
from services._chassis.config import SERVICES
from services._chassis.errors import InvalidError, Problem
from services._chassis.refusals import RefusalLog
from services._chassis.rights import RIGHT_NAMES

HEALTH = "grpc.health.v1.Health"
REFLECTION_PREFIX = "grpc.reflection."
_KINDS = {
    options_pb2.CALLER_ANONYMOUS: CallerKind.ANONYMOUS,
    options_pb2.CALLER_ADMINISTRATOR: CallerKind.ADMINISTRATOR,
    options_pb2.CALLER_DEVICE: CallerKind.DEVICE,
    options_pb2.CALLER_SERVICE: CallerKind.SERVICE,
}
PUBLIC_KINDS = frozenset({CallerKind.ANONYMOUS, CallerKind.ADMINISTRATOR})
MESH_KINDS = frozenset({CallerKind.DEVICE, CallerKind.SERVICE})


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRule:
    """Say who may call one RPC, whose snapshot decides, and who hears of the calls that were refused."""

    method: str
    callers: frozenset[CallerKind]
    right: str
    services: frozenset[str]
    access: AccessControl
    refusals: RefusalLog


def rules_of(
    service: str, access: AccessControl, door: frozenset[CallerKind], refusals: RefusalLog
) -> dict[str, MethodRule]:
    """Return the rules of a proto service by full method path. Raises InvalidError with everything left open."""
    descriptor: ServiceDescriptor = descriptor_pool.Default().FindServiceByName(service)
    problems = [
        Problem(method.full_name, problem) for method in descriptor.methods for problem in _problems(method, door)
    ]
    if problems:
        raise InvalidError(problems, reason="ACCESS_RULE_MISSING")
    return {f"/{service}/{method.name}": _rule(service, method, access, refusals) for method in descriptor.methods}


def _rule(service: str, method: MethodDescriptor, access: AccessControl, refusals: RefusalLog) -> MethodRule:
    declared = method.GetOptions().Extensions[options_pb2.access]
    return MethodRule(
        method=f"/{service}/{method.name}",
        callers=frozenset(_KINDS[caller] for caller in declared.callers),
        right=declared.right,
        services=frozenset(declared.services),
        access=access,
        refusals=refusals,
    )


def _problems(method: MethodDescriptor, door: frozenset[CallerKind]) -> Iterator[str]:
    declared = method.GetOptions().Extensions[options_pb2.access]
    kinds = {_KINDS.get(caller) for caller in declared.callers}
    if not kinds or None in kinds:
        yield "declares no caller; add the option epm.access.v1.access"
        return
    if not kinds <= door:
        yield "lets in callers of the other door; one proto service belongs to one door"
    if CallerKind.ADMINISTRATOR in kinds and bool(declared.right) == declared.any_right:
        yield "needs either a right or any_right for administrators"
    if CallerKind.ADMINISTRATOR not in kinds and (declared.right or declared.any_right):
        yield "asks for a right without letting administrators in, who alone have rights"
    if CallerKind.ANONYMOUS in kinds and declared.right:
        yield "asks for a right that nobody needs, since anyone is let in without a token"
    if declared.right and declared.right not in RIGHT_NAMES:
        yield f"names the right {declared.right}, which nobody knows"
    if (CallerKind.SERVICE in kinds) != bool(declared.services):
        yield "names services without letting services in, or the other way round"
    for name in sorted(set(declared.services) - set(SERVICES)):
        yield f"lets in the service {name!r}, which is none of {', '.join(SERVICES)}"
