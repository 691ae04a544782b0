"""Compare what every agent of a fleet holds with what the server says."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import grpc

from epm.device.v1 import devices_pb2, devices_pb2_grpc
from epm.elevation.v1 import document_pb2
from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from fleet.model import Holding, Standing

DEADLINE_SECONDS = 30.0
PAGE = 1000
_ANSWER_LIMIT = 64 * 1024 * 1024


class CheckError(Exception):
    """The server did not answer; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where and as whom to ask."""

    policy_address: str
    device_address: str
    ca: bytes
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Said:
    """What the server says of one device."""

    state: str
    applied: int
    newest: Holding
    """The newest document; no digest where the server does not know it."""
    epm_state: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """An agent of which the server says something else than the agent."""

    agent: str
    device_id: str
    problem: str


def differences(
    standings: Mapping[str, Standing], said: Mapping[str, Said], names: Mapping[str, str]
) -> Iterator[Difference]:
    """Give every difference; all three are by device."""
    for device_id, stands in standings.items():
        problem = _problem(stands, said.get(device_id))
        if problem:
            yield Difference(names.get(device_id, ""), device_id, problem)


def _problem(stands: Standing, said: Said | None) -> str:
    if said is None:
        return "the server knows no such device"
    if problem := _delivery_problem(stands.holding, said):
        return problem
    if stands.epm_state and said.epm_state != stands.epm_state:
        return f"is {stands.epm_state} by its document, and the server says {said.epm_state}"
    return ""


def _delivery_problem(held: Holding, said: Said) -> str:
    if said.applied != held.revision:
        return f"holds revision {held.revision}, and the server says that it applied {said.applied}"
    if said.state not in {"APPLIED", "REJECTED"} and (said.newest.revision or held.revision):
        return f"holds revision {held.revision}, and revision {said.newest.revision} is {said.state}"
    if said.state == "APPLIED" and said.newest.sha256 != held.sha256:
        return (
            f"holds other bytes as revision {held.revision} ({held.sha256.hex()[:12]}) "
            f"than the server has ({said.newest.sha256.hex()[:12] or 'none'})"
        )
    return ""


def ask(server: Server, *, lifecycle: bool) -> dict[str, Said]:
    """Ask the server for all devices, with their `lifecycle` or without; raise CheckError where it does not answer."""
    with _asked(server, server.policy_address) as channel:
        found = dict(_delivered(policies_pb2_grpc.PolicyServiceStub(channel)))
    if not lifecycle:
        return found
    with _asked(server, server.device_address) as channel:
        states = dict(_lived(devices_pb2_grpc.DeviceServiceStub(channel)))
    return {device_id: replace(said, epm_state=states.get(device_id, "unknown")) for device_id, said in found.items()}


@contextmanager
def _asked(server: Server, address: str) -> Iterator[grpc.Channel]:
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(root_certificates=server.ca), grpc.access_token_call_credentials(server.token)
    )
    options = (("grpc.max_receive_message_length", _ANSWER_LIMIT), ("grpc.enable_http_proxy", 0))
    with grpc.secure_channel(address, credentials, options=options) as channel:
        try:
            yield channel
        except grpc.RpcError as error:
            raise CheckError(f"{address} did not tell its devices ({_said(error)})") from None


def _said(error: object) -> str:
    """Read what a call failed with; its type does not say that it is a call too."""
    return f"{error.code().name}: {error.details()}" if isinstance(error, grpc.Call) else str(error)


def _delivered(stub: policies_pb2_grpc.PolicyServiceStub) -> Iterator[tuple[str, Said]]:
    token = ""
    while True:
        request = policies_pb2.ListDevicePolicyStatesRequest(page_size=PAGE, page_token=token)
        answer = stub.ListDevicePolicyStates(request, timeout=DEADLINE_SECONDS)
        for state in answer.states:
            word = policies_pb2.DeliveryState.Name(state.state).removeprefix("DELIVERY_STATE_")
            newest = Holding(state.offered_revision, state.document_sha256)
            yield state.device_id, Said(word, state.applied_revision, newest)
        token = answer.next_page_token
        if not token:
            return


def _lived(stub: devices_pb2_grpc.DeviceServiceStub) -> Iterator[tuple[str, str]]:
    token = ""
    while True:
        request = devices_pb2.ListDevicesRequest(page_size=PAGE, page_token=token)
        answer = stub.ListDevices(request, timeout=DEADLINE_SECONDS)
        for device in answer.devices:
            yield device.device_id, document_pb2.EpmState.Name(device.epm_state).removeprefix("EPM_STATE_")
        token = answer.next_page_token
        if not token:
            return
