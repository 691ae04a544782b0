"""Compare what every agent of a fleet holds with what the server says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import grpc

from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from fleet.model import Holding

DEADLINE_SECONDS = 30.0
PAGE = 1000
_ANSWER_LIMIT = 64 * 1024 * 1024


class CheckError(Exception):
    """The server did not answer; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where and as whom to ask."""

    address: str
    ca: bytes
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Said:
    """What the server says of one device."""

    state: str
    applied: int
    newest: Holding
    """The newest document; no digest where the server does not know it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """An agent of which the server says something else than the agent."""

    agent: str
    device_id: str
    problem: str


def differences(
    held: Mapping[str, Holding], said: Mapping[str, Said], names: Mapping[str, str]
) -> Iterator[Difference]:
    """Give every difference; all three are by device."""
    for device_id, holding in held.items():
        problem = _problem(holding, said.get(device_id))
        if problem:
            yield Difference(names.get(device_id, ""), device_id, problem)


def _problem(held: Holding, said: Said | None) -> str:
    if said is None:
        return "the server knows no such device"
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


def ask(server: Server) -> dict[str, Said]:
    """Ask the server for all devices; raise CheckError where it does not answer."""
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(root_certificates=server.ca), grpc.access_token_call_credentials(server.token)
    )
    options = (("grpc.max_receive_message_length", _ANSWER_LIMIT), ("grpc.enable_http_proxy", 0))
    with grpc.secure_channel(server.address, credentials, options=options) as channel:
        stub = policies_pb2_grpc.PolicyServiceStub(channel)
        try:
            return dict(_pages(stub))
        except grpc.RpcError as error:
            raise CheckError(f"{server.address} did not tell its devices ({_said(error)})") from None


def _said(error: object) -> str:
    """Read what a call failed with; its type does not say that it is a call too."""
    return f"{error.code().name}: {error.details()}" if isinstance(error, grpc.Call) else str(error)


def _pages(stub: policies_pb2_grpc.PolicyServiceStub) -> Iterator[tuple[str, Said]]:
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
