"""What tests of support approvals say and hear, as the control socket and the policy stream do."""

import grpc
import grpc.aio

from epm.policy.v1 import agent_pb2, requests_pb2
from tests.builders.desk import Desk
from tests.fakes.agent import FakePrompter

PATIENCE = 20


def restarted(desk: Desk) -> Desk:
    return Desk(desk.folder, house=desk.house, clock=desk.clock, revision=desk.revision)


def willing(*reasons: str) -> FakePrompter:
    return FakePrompter(confirms=True, reasons=reasons or ("to work",))


def hears(desk: Desk, request: requests_pb2.ElevationRequest, sequence: int = 1) -> None:
    desk.office.keep_outcome(agent_pb2.RequestOutcome(sequence=sequence, request=request))


def told(found: list[dict[str, object]]) -> list[object]:
    return [request["message"] for request in found]


def news(desk: Desk, user: str = "alice") -> list[dict[str, object]]:
    """Show a user the news, as the control socket does."""
    found = desk.office.counter.news(user)
    desk.office.counter.shown(user, found)
    return found


async def awaited(desk: Desk, request_id: str = "", user: str = "alice") -> list[dict[str, object]]:
    """Wait and show, as the control socket does."""
    found = await desk.office.counter.awaited(user, request_id)
    desk.office.counter.shown(user, found)
    return found


def refusal(code: grpc.StatusCode, words: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), words)
