import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import grpc.aio
import pytest

from agent_stub.links import SessionError
from epm.policy.v1 import agent_pb2
from fleet.faults import Armed
from fleet.invariants import Witness
from fleet.line import REFUSED, Call, Ears, Line
from fleet.model import Fault, FaultKind, Holding, Law, Tally
from tests.fakes.agent import DEVICE_ID, Installation, document

CONTENT = document()
HOUSE = Installation()


@dataclass
class FakeCall:
    """Notes what is written, gives out what is prepared, and may be over already."""

    prepared: list[agent_pb2.StreamPolicyResponse] = field(default_factory=list)
    written: list[agent_pb2.StreamPolicyRequest] = field(default_factory=list)
    closes_after: int = 1000

    async def write(self, request: agent_pb2.StreamPolicyRequest) -> None:
        if len(self.written) >= self.closes_after:
            raise asyncio.InvalidStateError("RPC already finished.")
        self.written.append(request)

    async def read(self) -> object:
        return self.prepared.pop(0) if self.prepared else grpc.aio.EOF

    def cancel(self) -> bool:
        return True


class House:
    def __init__(self) -> None:
        self.call = FakeCall()
        self.tally = Tally()
        self.armed = Armed(self.tally.faults)
        self.witness = Witness("sim-00001", DEVICE_ID)
        self.held = Holding()
        self.pauses: list[float] = []
        ears = Ears(self.witness, self.tally, self.armed, lambda: self.held, self._pause)
        self.line = Line(cast("grpc.aio.Channel", None), cast("Call", self.call), ears)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def arm(self, kind: FaultKind, seconds: float = 0) -> None:
        self.armed.arm(Fault(kind, timedelta(seconds=seconds)))

    async def offered(self, offer: agent_pb2.Offer) -> object:
        self.call.prepared.append(agent_pb2.StreamPolicyResponse(offer=offer))
        return await self.line.read()

    async def acknowledge(self) -> None:
        self.held = Holding(1, b"a")
        await self.line.write(agent_pb2.StreamPolicyRequest(ack=agent_pb2.Ack(nonce=b"nonce", revision=1)))

    def laws(self) -> list[Law]:
        return [violation.law for violation in self.witness.take()]


@pytest.fixture
def house() -> House:
    return House()


OFFER = HOUSE.offer(CONTENT, 1)
HELLO = agent_pb2.StreamPolicyRequest(hello=agent_pb2.Hello(device_id=DEVICE_ID))


async def test_without_faults_everything_passes_as_it_is_and_is_counted(house: House) -> None:
    await house.line.write(HELLO)
    house.call.prepared.append(agent_pb2.StreamPolicyResponse(welcome=agent_pb2.Welcome()))
    await house.line.read()
    assert await house.offered(OFFER) == agent_pb2.StreamPolicyResponse(offer=OFFER)
    await house.acknowledge()
    assert [request.WhichOneof("message") for request in house.call.written] == ["hello", "ack"]
    assert (house.tally.welcomes, house.tally.offers, house.tally.acks) == (1, 1, 1)
    assert (house.laws(), house.tally.faults) == ([], Counter())


async def test_a_lost_ack_is_not_written_and_the_stream_ends(house: House) -> None:
    house.arm(FaultKind.LOSE_ACK)
    with pytest.raises(SessionError, match="lost the ACK"):
        await house.acknowledge()
    assert house.call.written == []
    await house.acknowledge()
    assert len(house.call.written) == 1


async def test_a_double_ack_is_written_twice(house: House) -> None:
    house.arm(FaultKind.DOUBLE_ACK)
    await house.acknowledge()
    assert [request.ack.nonce for request in house.call.written] == [b"nonce", b"nonce"]


async def test_a_double_ack_to_a_server_that_is_gone_ends_the_stream_in_order(house: House) -> None:
    house.call.closes_after = 1
    house.arm(FaultKind.DOUBLE_ACK)
    with pytest.raises(SessionError):
        await house.acknowledge()


async def test_a_wrong_nonce_keeps_the_revision_and_counts_as_no_ack(house: House) -> None:
    house.arm(FaultKind.WRONG_NONCE)
    await house.acknowledge()
    (request,) = house.call.written
    assert (request.ack.nonce != b"nonce", request.ack.revision, house.tally.acks) == (True, 1, 0)


async def test_a_refused_offer_is_answered_with_reasons_and_never_seen_by_the_agent(house: House) -> None:
    house.arm(FaultKind.REFUSE)
    assert await house.offered(OFFER) is grpc.aio.EOF
    (request,) = house.call.written
    assert request.nack == agent_pb2.Nack(nonce=OFFER.nonce, revision=1, reasons=REFUSED)
    assert house.tally.nacks == 1


async def test_a_dropped_offer_ends_the_stream_unanswered(house: House) -> None:
    house.arm(FaultKind.DROP)
    with pytest.raises(SessionError, match="closed the stream on an offer"):
        await house.offered(OFFER)
    assert house.call.written == []


async def test_a_slow_reader_waits_with_an_offer_in_hand_and_one_that_stops_before_it_reads(house: House) -> None:
    house.arm(FaultKind.SLOW_READER, 3)
    await house.offered(OFFER)
    house.arm(FaultKind.STOP_READING, 10)
    await house.line.read()
    assert house.pauses == [3, 10]


async def test_a_second_hello_is_said(house: House) -> None:
    house.arm(FaultKind.HELLO_TWICE)
    await house.line.write(HELLO)
    assert house.call.written == [HELLO, HELLO]


async def test_what_happened_is_counted_and_what_waits_is_not(house: House) -> None:
    house.arm(FaultKind.LOSE_ACK)
    house.arm(FaultKind.DROP)
    with pytest.raises(SessionError):
        await house.offered(OFFER)
    house.armed.calm()
    await house.acknowledge()
    assert house.tally.faults == {"drop": 1}


@pytest.mark.parametrize(
    ("offer", "law"),
    [
        (HOUSE.offer(CONTENT, 1, device_id="other"), Law.OWN_DOCUMENTS_ONLY),
        (HOUSE.offer(b"", 1), Law.OWN_DOCUMENTS_ONLY),
        (HOUSE.offer(CONTENT, 2), Law.NO_OLD_OFFER),
    ],
)
async def test_the_witness_sees_offers_that_must_not_come(house: House, offer: agent_pb2.Offer, law: Law) -> None:
    house.held = Holding(3, b"c") if law is Law.NO_OLD_OFFER else Holding()
    await house.offered(offer)
    assert house.laws() == [law]


async def test_the_witness_sees_an_offer_of_what_is_held(house: House) -> None:
    manifest = agent_pb2.Manifest.FromString(OFFER.signed_manifest.manifest)
    house.held = Holding(1, manifest.document_sha256)
    await house.offered(OFFER)
    assert house.laws() == [Law.NO_NEEDLESS_OFFER]


async def test_the_witness_sees_a_confirmation_of_another_document(house: House) -> None:
    up_to_date = agent_pb2.UpToDate(signed_manifest=HOUSE.signed(b"d" * 32, 4))
    house.call.prepared.append(agent_pb2.StreamPolicyResponse(up_to_date=up_to_date))
    await house.line.read()
    assert house.laws() == [Law.CONFIRMS_WHAT_IS_HELD]


async def test_the_witness_sees_an_agent_that_speaks_after_go_away(house: House) -> None:
    house.call.prepared.append(agent_pb2.StreamPolicyResponse(go_away=agent_pb2.GoAway()))
    await house.line.read()
    await house.acknowledge()
    assert house.laws() == [Law.GO_AWAY_OBEYED]
