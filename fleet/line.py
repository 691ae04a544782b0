"""The line between a virtual agent and the server: it counts, lets a witness see, and does what the script says.

`agent_stub`'s PolicyStream speaks over it as over any call, and knows nothing of it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import grpc.aio
from google.protobuf.message import DecodeError

from agent_stub.links import SessionError
from epm.policy.v1 import agent_pb2, agent_pb2_grpc
from fleet.faults import Armed
from fleet.invariants import Witness
from fleet.keepers import device_of
from fleet.model import FaultKind, Holding, Tally

Call = grpc.aio.StreamStreamCall[agent_pb2.StreamPolicyRequest, agent_pb2.StreamPolicyResponse]
GARBAGE = b"\xff" * 64
REFUSED = ("the simulator refuses this offer", "because its script says so")
_METHOD = "/epm.policy.v1.PolicyStreamService/StreamPolicy"


@dataclass(frozen=True, slots=True)
class Ears:
    """Who hears what passes over the line, and what decides what goes wrong."""

    witness: Witness
    tally: Tally
    armed: Armed
    holding: Callable[[], Holding]
    pause: Callable[[float], Awaitable[None]]


class Line:
    """One stream, from the agent's side; it has the methods of a call that PolicyStream uses."""

    def __init__(self, channel: grpc.aio.Channel, call: Call, ears: Ears) -> None:
        self._channel = channel
        self._call = call
        self._ears = ears

    async def write(self, request: agent_pb2.StreamPolicyRequest) -> None:
        """Say something, or what the script makes of it."""
        self._ears.witness.spoke()
        match request.WhichOneof("message"):
            case "hello":
                await self._greet(request)
            case "ack":
                await self._acknowledge(request)
            case _:
                self._ears.witness.refused(self._ears.holding())
                self._ears.tally.nacks += 1
                await self._call.write(request)

    async def read(self) -> object:
        """Hear what comes next, as late as the script says."""
        if fault := self._ears.armed.take(FaultKind.STOP_READING):
            await self._rest(fault.lasts)
        while True:
            response = await self._call.read()
            if not isinstance(response, agent_pb2.StreamPolicyResponse):
                return response
            if not await self._is_kept_back(response):
                return response

    async def details(self) -> str:
        """Give the server's reason for the end of the stream."""
        return await self._call.details()

    def cancel(self) -> bool:
        """End the stream."""
        return self._call.cancel()

    async def _greet(self, hello: agent_pb2.StreamPolicyRequest) -> None:
        armed = self._ears.armed
        if armed.take(FaultKind.GARBAGE):
            self._call.cancel()
            raise SessionError(f"the server answered garbage: {await self._say_garbage()}")
        await self._call.write(hello)
        if armed.take(FaultKind.HELLO_TWICE):
            await self._write_more(hello)

    async def _say_garbage(self) -> str:
        raw: grpc.aio.StreamStreamCall[bytes, bytes] = self._channel.stream_stream(_METHOD)()
        try:
            await raw.write(GARBAGE)
            await raw.read()
            return await raw.details()
        finally:
            raw.cancel()

    async def _acknowledge(self, request: agent_pb2.StreamPolicyRequest) -> None:
        armed = self._ears.armed
        if armed.take(FaultKind.LOSE_ACK):
            raise SessionError("the simulator lost the ACK")
        if armed.take(FaultKind.WRONG_NONCE):
            wrong = agent_pb2.Ack(nonce=bytes(255 - byte for byte in request.ack.nonce), revision=request.ack.revision)
            await self._call.write(agent_pb2.StreamPolicyRequest(ack=wrong))
            return
        self._ears.witness.acknowledged(request.ack.revision, self._ears.holding())
        self._ears.tally.acks += 1
        await self._call.write(request)
        if armed.take(FaultKind.DOUBLE_ACK):
            await self._write_more(request)

    async def _write_more(self, request: agent_pb2.StreamPolicyRequest) -> None:
        """Write what the server will take amiss; it may have closed the stream already."""
        try:
            await self._call.write(request)
        except asyncio.InvalidStateError as error:
            raise SessionError("the server closed the stream") from error

    async def _is_kept_back(self, response: agent_pb2.StreamPolicyResponse) -> bool:
        """Look at what came; tell whether the agent is not to see it."""
        tally = self._ears.tally
        match response.WhichOneof("message"):
            case "welcome":
                tally.welcomes += 1
            case "offer":
                tally.offers += 1
                return await self._offer_is_kept_back(response.offer)
            case "up_to_date":
                tally.confirmations += 1
                confirmed, _ = _named(response.up_to_date.signed_manifest)
                self._ears.witness.confirmed(confirmed, self._ears.holding())
            case "go_away":
                tally.farewells += 1
                self._ears.witness.sent_away(comes_back=response.go_away.HasField("reconnect_within"))
            case "throttle":
                tally.throttles += 1
            case _:
                pass
        return False

    async def _offer_is_kept_back(self, offer: agent_pb2.Offer) -> bool:
        ears = self._ears
        offered, device_id = _named(offer.signed_manifest)
        ears.witness.offered(offered, frozenset({device_id, device_of(offer.document)}), ears.holding())
        if ears.armed.take(FaultKind.DROP):
            raise SessionError("the simulator closed the stream on an offer")
        if fault := ears.armed.take(FaultKind.SLOW_READER):
            await self._rest(fault.lasts)
        if not ears.armed.take(FaultKind.REFUSE):
            return False
        nack = agent_pb2.Nack(nonce=offer.nonce, revision=offered.revision, reasons=REFUSED)
        ears.witness.refused(ears.holding())
        ears.tally.nacks += 1
        await self._call.write(agent_pb2.StreamPolicyRequest(nack=nack))
        return True

    async def _rest(self, length: timedelta) -> None:
        await self._ears.pause(length.total_seconds())


class LineStub:
    """Opens lines where PolicyStream wants calls. `by_script` tells who is behind the next one."""

    def __init__(self, channel: grpc.aio.Channel, ears: Ears) -> None:
        self._channel = channel
        self._stub: agent_pb2_grpc.PolicyStreamServiceAsyncStub = agent_pb2_grpc.PolicyStreamServiceStub(channel)
        self._ears = ears
        self.by_script = True

    def as_stub(self) -> "agent_pb2_grpc.PolicyStreamServiceAsyncStub":
        """Give itself under the name of what it stands for: PolicyStream uses no more of a stub than this has."""
        return cast("agent_pb2_grpc.PolicyStreamServiceAsyncStub", self)

    def StreamPolicy(self) -> Line:  # noqa: N802 - the contract names the method
        """Open a stream."""
        self._ears.witness.opened(by_script=self.by_script)
        self.by_script = False
        self._ears.tally.streams += 1
        return Line(self._channel, self._stub.StreamPolicy(), self._ears)


def _named(signed: agent_pb2.SignedManifest) -> tuple[Holding, str]:
    """Read what a manifest names, right or wrong."""
    try:
        manifest = agent_pb2.Manifest.FromString(signed.manifest)
    except DecodeError:
        return Holding(), ""
    return Holding(manifest.revision, manifest.document_sha256), manifest.device_id
