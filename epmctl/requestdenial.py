"""Tell an approver of a rule that denies what is asked for: no approval changes that on the device."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from epm.elevation.v1 import decision_pb2, rules_pb2
from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc, requests_pb2
from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from epmctl.client import Client
from epmctl.errors import CommandError

_READ: Final = "policy_authoring.read"
_OPEN: Final = (
    requests_pb2.ELEVATION_REQUEST_STATE_PENDING,
    requests_pb2.ELEVATION_REQUEST_STATE_APPROVED,
)


def denial_of(client: Client, found: requests_pb2.GetElevationRequestResponse) -> str:
    """Name the rule of today that denies the file of an open request, and where it does; empty where none does.

    Who may not read policies is told nothing, and the server is not asked for them: it would note that it refused. How the device
    sees the file, the server cannot know: it is asked what becomes of one whose signature is trusted, and that root alone can write.
    """
    if found.request.state not in _OPEN:
        return ""
    stub = analysis_pb2_grpc.AnalysisServiceStub(client.channel)
    with suppress(CommandError):  # who may see the request need not see policies of its device
        caller = client.call(rbac_pb2_grpc.RbacServiceStub(client.channel).WhoAmI, rbac_pb2.WhoAmIRequest())
        if _READ not in caller.rights:
            return ""
        decision = client.call(stub.Simulate, _as_most_devices_see_it(found)).decision
        if decision.rule and decision.elevation_type == rules_pb2.ELEVATION_TYPE_DENY:
            where = " and ".join(_conditions(found))
            return f"{decision.policy}/{decision.rule}, whatever is approved" + (f", where {where}" if where else "")
    return ""


def _as_most_devices_see_it(found: requests_pb2.GetElevationRequestResponse) -> analysis_pb2.SimulateRequest:
    request, file, chain = found.request, found.request.file, found.certificates
    return analysis_pb2.SimulateRequest(
        device=request.device_id,
        user=request.user,
        platform=request.platform,
        file=decision_pb2.FileEvidence(
            path=file.path,
            sha256=file.sha256,
            version=file.version,
            description=file.description,
            product_name=file.product_name,
            internal_name=file.internal_name,
            company_name=file.company_name,
            root_only_path=request.platform == rules_pb2.PLATFORM_LINUX,
            signers=[decision_pb2.Signer(leaf=chain[0], chain=chain[1:], trusted=True)] if chain else (),
        ),
        arguments=request.arguments,
    )


def _conditions(found: requests_pb2.GetElevationRequestResponse) -> Iterator[str]:
    if found.certificates:
        yield "the device trusts the signature"
    if found.request.platform == rules_pb2.PLATFORM_LINUX:
        yield "root alone can write the file"
