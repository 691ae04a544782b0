"""A policy service's streams behind real doors, and a device's end of one."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import count

import grpc.aio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent_stub.model import Identity
from agent_stub.policy.manifest import Manifest, digest_problems, verify
from elevation.codec.document import decode_document
from elevation.document import PolicyDocument
from epm.elevation.v1 import document_pb2
from epm.policy.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.pki import policy_key_id
from services._chassis.server import ServiceParts
from services.policy.agent_servicer import PolicyStreamServicer
from services.policy.codec.agent import Speaker
from services.policy.model.delivery import Delivery
from services.policy.model.directory import DirectoryDevice
from services.policy.open_streams import MOST_STREAMS, OpenStreams
from services.policy.ports import Deliveries
from services.policy.streams.manners import Manners
from services.policy.usecases.admission import admit
from services.policy.usecases.delivery import CAPABILITY, Conversation
from services.policy.workers import DeliveryWriter
from tests.builders.doors import OpenDoors, device_identity
from tests.fakes.access import FakeAccess
from tests.fakes.clock import FakeClock
from tests.fakes.policy_delivery import (
    Authored,
    FakeDirectories,
    MemoryDeliveries,
    corpus,
    device,
    policy_book,
    settings,
)

KEY = Ed25519PrivateKey.generate()
TENANT = "openepm"
SOON = timedelta(milliseconds=20)
LATER = timedelta(hours=1)


class World:
    """One process of the policy service; several share deliveries, directories and the names of streams."""

    def __init__(
        self,
        deliveries: Deliveries | None = None,
        directories: FakeDirectories | None = None,
        *,
        heartbeat: timedelta = LATER,
        keys: Sequence[Ed25519PrivateKey] = (KEY,),
        most_streams: int = MOST_STREAMS,
        numbers: "count[int] | None" = None,
    ) -> None:
        self.clock = FakeClock()
        self.deliveries = deliveries or MemoryDeliveries()
        self.directories = directories or FakeDirectories(device("d1", "alice"), device("d2"))
        self.book = policy_book(self.directories)
        self.writer = DeliveryWriter(self.deliveries)
        self.streams = OpenStreams(self.deliveries, self.clock, most=most_streams)
        self.answered: list[str] = []
        self._applied: dict[str, int] = {}
        self._heard = asyncio.Event()
        self.admitted = asyncio.Event()
        self.doors: OpenDoors
        self.suspected: list[str] = []
        self._keys = keys
        self.speaker = Speaker(keys, tenant=TENANT)
        self.manners = Manners(
            speaker=self.speaker,
            clock=self.clock,
            on_answer=self._hear,
            on_clone=self.suspected.append,
            calm=self.writer.calm,
            heartbeat=heartbeat,
        )
        self._numbers = numbers or count(1)
        self.publish(settings())

    def publish(self, *contents: Authored) -> None:
        """Make this all that is authored, as the worker that follows the database does."""
        self.book.put(corpus(*contents, revision=self.book.revision + 1))
        self.streams.wake(None)

    async def known(self, device_id: str = "d1") -> Delivery:
        """Return what is kept of a device."""
        return (await self.deliveries.many([device_id]))[device_id]

    async def until(self, reached: Callable[[Delivery], bool]) -> None:
        """Wait until what is kept of d1, in memory, is as the test wants it."""
        assert isinstance(self.deliveries, MemoryDeliveries)
        await self.deliveries.until("d1", reached)

    async def heard(self, stream: "Stream") -> None:
        """Wait until it is kept what the device acknowledged last on the stream."""
        async with asyncio.timeout(10):
            while self._applied.get(stream.device_id) != stream.acknowledged:
                await self._heard.wait()

    def _hear(self, delivery: Delivery) -> None:
        self.answered.append(delivery.device_id)
        self._applied[delivery.device_id] = delivery.applied_revision
        self._heard.set()
        self._heard = asyncio.Event()

    def parts(self) -> ServiceParts:
        """Return what the doors need."""
        servicer = PolicyStreamServicer(
            self._admitted,
            self._conversation,
            self.streams,
            manners=self.manners,
        )
        return ServiceParts(
            name="policy",
            access=FakeAccess().control,
            mesh=[lambda server: agent_pb2_grpc.add_PolicyStreamServiceServicer_to_server(servicer, server)],
            workers=[self.writer.worker()],
            on_drain=[self.streams.drain],
            close=self.writer.close,
        )

    @asynccontextmanager
    async def stream(self, device_id: str = "d1") -> AsyncIterator["Stream"]:
        """Open a device's stream, without having said anything."""
        async with self.doors.mesh(device_identity(device_id)) as channel:
            yield Stream(device_id, agent_pb2_grpc.PolicyStreamServiceStub(channel).StreamPolicy(), self._keys)

    async def _admitted(self, device_id: str, serial: str) -> DirectoryDevice:
        device = admit(self.directories.directory(), device_id, serial)
        self.admitted.set()
        return device

    def _conversation(self, device_id: str) -> Conversation:
        number = next(self._numbers)
        return Conversation(
            device_id,
            f"stream-{number}",
            book=self.book,
            deliveries=self.writer,
            new_nonce=lambda: b"nonce-%d" % next(self._numbers),
            keys=self.speaker.keys,
            wait=self.manners.heartbeat,
        )


class Stream:
    """The device's end of a policy stream; it believes nothing that is not signed for it."""

    def __init__(
        self,
        device_id: str,
        call: "grpc.aio.StreamStreamCall[agent_pb2.StreamPolicyRequest, agent_pb2.StreamPolicyResponse]",
        keys: Sequence[Ed25519PrivateKey] = (KEY,),
    ) -> None:
        self.call = call
        self.device_id = device_id
        self.acknowledged = 0
        """The revision that was acknowledged last."""
        self._identity: Identity
        self.trust(*keys)

    def trust(self, *keys: Ed25519PrivateKey) -> None:
        """Verify by these keys from now on."""
        trusted = {policy_key_id(key.public_key()): key.public_key().public_bytes_raw() for key in keys}
        self._identity = Identity(self.device_id, self.device_id.upper(), TENANT, "", "", "", trusted)

    async def hello(
        self,
        held: Manifest | None = None,
        *,
        device_id: str = "",
        capabilities: Iterable[str] = (CAPABILITY,),
        revision: int = 0,
        sha256: bytes = b"",
        run_id: str = "",
        key_ids: Iterable[str] = (),
    ) -> agent_pb2.Welcome:
        """Introduce the device, which holds what was verified earlier or what the test says; return the welcome."""
        hello = agent_pb2.Hello(
            device_id=device_id,
            agent_version="0.1.0",
            capabilities=capabilities,
            revision=held.revision if held else revision,
            document_sha256=held.sha256 if held else sha256,
            run_id=run_id,
            policy_key_ids=key_ids,
        )
        await self.say(agent_pb2.StreamPolicyRequest(hello=hello))
        return (await self.read()).welcome

    async def say(self, request: agent_pb2.StreamPolicyRequest) -> None:
        """Send a message; a stream that has ended says so when it is read."""
        with suppress(asyncio.InvalidStateError):
            await self.call.write(request)

    async def read(self) -> agent_pb2.StreamPolicyResponse:
        """Return the next message. Raises EOFError where the server ended the stream."""
        response = await self.call.read()
        if response is grpc.aio.EOF:
            raise EOFError((await self.call.code()).name)
        assert isinstance(response, agent_pb2.StreamPolicyResponse)
        return response

    async def offer(self) -> tuple[agent_pb2.Offer, Manifest, PolicyDocument]:
        """Return the next message, which must be an offer, verified as the agent does."""
        response = await self.read()
        assert response.WhichOneof("message") == "offer", response
        manifest = verify(response.offer.signed_manifest, self._identity)
        assert digest_problems(manifest, response.offer.document) == []
        return (
            response.offer,
            manifest,
            decode_document(document_pb2.PolicyDocument.FromString(response.offer.document)),
        )

    async def apply(self) -> Manifest:
        """Take the next offer and acknowledge it."""
        offer, manifest, _ = await self.offer()
        await self.acknowledge(offer, manifest.revision)
        return manifest

    async def acknowledge(self, offer: agent_pb2.Offer, revision: int) -> None:
        """Say that the offer is in force."""
        self.acknowledged = revision
        await self.say(agent_pb2.StreamPolicyRequest(ack=agent_pb2.Ack(nonce=offer.nonce, revision=revision)))

    async def refuse(self, offer: agent_pb2.Offer, *reasons: str, temporary: bool = False, revision: int = 0) -> None:
        """Say that the offer is refused; `revision` 0: it could not be read."""
        nack = agent_pb2.Nack(nonce=offer.nonce, reasons=reasons, temporary=temporary, revision=revision)
        await self.say(agent_pb2.StreamPolicyRequest(nack=nack))

    async def confirmed(self) -> Manifest:
        """Return the next message, which must confirm what the device holds."""
        response = await self.read()
        assert response.WhichOneof("message") == "up_to_date", response
        return verify(response.up_to_date.signed_manifest, self._identity)

    async def sent_away(self) -> agent_pb2.GoAway:
        """Return the next message, which must be the last one."""
        farewell = await self.read()
        assert farewell.WhichOneof("message") == "go_away", farewell
        assert await self.failure() == ("OK", "")
        return farewell.go_away

    async def failure(self) -> tuple[str, str]:
        """Read to the end; return how it ended."""
        with suppress(grpc.aio.AioRpcError, EOFError):
            while True:
                await self.read()
        return (await self.call.code()).name, await self.call.details() or ""
