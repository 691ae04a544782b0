"""How far the policy of one device has come, with the settings on which policies disagree there."""

from typing import Final

import grpc

from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from epmctl.client import CallError, Client
from epmctl.output import Record
from epmctl.plain import to_plain

_BESIDE: Final = frozenset({"deviceId", "deviceName"})


def policy_state(client: Client, device_id: str) -> Record | None:
    """Return the policy state of a device; None where there is none, or none that whoever asks may see."""
    stub = policies_pb2_grpc.PolicyServiceStub(client.channel)
    request = policies_pb2.ListDevicePolicyStatesRequest(device=device_id, page_size=1)
    try:
        found = client.call(stub.ListDevicePolicyStates, request).states
    except CallError as error:
        if error.code is grpc.StatusCode.PERMISSION_DENIED:
            return None
        raise
    return {key: value for key, value in to_plain(found[0]).items() if key not in _BESIDE} if found else None
