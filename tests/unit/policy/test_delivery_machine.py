"""Server and agent, driven at random: several streams, lost and repeated messages, rotations, restarts, jumps of clocks.

The agent is the real keeper on a real folder, the server the real conversations over deliveries in memory; what lies
between them is a list of messages from which any may come at any time, or never.
"""

import shutil
import tempfile
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent_stub import identity_store
from agent_stub.model import Identity
from agent_stub.policy.keeper import Held, PolicyKeeper
from agent_stub.policy.manifest import PolicyRefusedError
from epm.policy.v1 import agent_pb2
from services._chassis.errors import InvalidError
from services._chassis.pki import policy_key_id
from services.policy.codec.agent import Speaker, hello_from_proto
from services.policy.model.delivery import Delivery
from services.policy.model.states import DeliveryState
from services.policy.ports import DeliveryStep
from services.policy.usecases.delivery import CAPABILITY, SHORTEST_WAIT, Conversation
from services.policy.usecases.sayings import GoAway, Offer, Saying
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import Authored, FakeDirectories, corpus, device, policy_book, rules, settings

DEVICE, TENANT = "d1", "openepm"
KEYS = tuple(Ed25519PrivateKey.generate() for _ in range(4))
AUTHORED: tuple[tuple[Authored, ...], ...] = (
    (),
    (settings(),),
    (settings(enabled=False),),
    (settings(), rules("a")),
    (settings(), rules("a"), rules("b")),
    (settings("bad", "all-devices"), rules("bad")),
)
CONTENTS = st.sampled_from([None] * 6 + list(AUTHORED))
ATTACK = 10
"""Messages that an attacker repeats whenever keys have changed."""

BAD = b"bad"
"""Documents with this in them are too new for some versions of the agent."""

SECOND = timedelta(seconds=1)
PASSES = st.sampled_from([SECOND, SHORTEST_WAIT, timedelta(hours=5), timedelta(days=8)])
JUMPS = st.sampled_from([timedelta(hours=5), timedelta(days=2), timedelta(days=8), timedelta(days=366)])


class Kept:
    """Keep the delivery of one device, at once."""

    def __init__(self) -> None:
        self.delivery = Delivery(DEVICE)

    def change(self, device_id: str, step: DeliveryStep) -> Awaitable[Delivery]:
        """Take the step."""
        assert device_id == DEVICE
        self.delivery = step(self.delivery)
        return self._found()

    async def _found(self) -> Delivery:
        return self.delivery


@dataclass
class Line:
    """One stream: the server's end, and what was said on it so far."""

    conversation: Conversation
    said: list[agent_pb2.StreamPolicyResponse] = field(default_factory=list)
    answers: list[agent_pb2.StreamPolicyRequest] = field(default_factory=list)


def now_of(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run what waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def told(key: Ed25519PrivateKey) -> tuple[str, bytes]:
    return policy_key_id(key.public_key()), key.public_key().public_bytes_raw()


class Streams(RuleBasedStateMachine):
    """One device, one installation, and the network between them."""

    @initialize()
    def enrol(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.signing = [KEYS[0]]
        self.unused = list(KEYS[1:])
        self.gone: set[str] = set()
        self.server_time = self.device_time = NOW
        self.numbers = iter(range(1, 10**6))
        self.kept = Kept()
        self.book = policy_book(FakeDirectories(device(DEVICE)))
        self.book.put(corpus(settings()))
        self.run_id = "run-0"
        self.lines: list[Line] = []
        self.past: list[agent_pb2.StreamPolicyResponse] = []
        self.highest = 0
        self.picky = False
        self.put_off: datetime | None
        self.refused, self.put_off = b"", None
        identity_store.save_identity(self.folder, Identity(DEVICE, "D1", TENANT, "", "", "", dict([told(KEYS[0])])))
        self.keeper = PolicyKeeper(self.folder, identity_store.load_identity(self.folder))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(contents=st.sampled_from(AUTHORED))
    def publish(self, contents: tuple[Authored, ...]) -> None:
        self.book.put(corpus(*contents, revision=self.book.revision + 1))

    @rule(
        contents=CONTENTS,
        rounds=st.integers(1, 3),
        lost=st.sampled_from(["nothing", "nothing", "nothing", "message", "answer"]),
        of=st.sampled_from([-1, -1, -2]),
        anew=st.booleans(),
    )
    def converse(
        self,
        contents: tuple[Authored, ...] | None,
        rounds: int,
        *,
        lost: str = "nothing",
        of: int = -1,
        anew: bool = False,
    ) -> None:
        """Publish, and talk on a stream in order; at the end something may be on its way still."""
        if contents is not None:
            self.publish(contents)
        if anew or not self.lines:
            self.connect()
        line = self.lines[of % len(self.lines)]
        for _ in range(rounds):
            self.pass_time(SECOND)
            self.say(of)
            if line not in self.lines or not line.said:
                return
            if lost != "message":
                self.hear(of, 1)
            if lost == "nothing":
                self.answer(of)

    @rule(of=st.integers(-3, 3))
    def say(self, of: int) -> None:
        """Let the server say what there is to say on one of the streams."""
        if not self.lines:
            return
        line = self.lines[of % len(self.lines)]
        before = self.kept.delivery
        saying = now_of(line.conversation.next(self.server_time))
        if line.conversation.stream == before.stream:
            self.judge(before, saying)
        if isinstance(saying, GoAway):
            self.lines.remove(line)
        elif saying is not None:
            line.said.append(self.speaker().say(saying))
            self.past.append(line.said[-1])

    @rule()
    def connect(self) -> None:
        """Open a stream; whatever was said on older ones may still arrive."""
        hello = agent_pb2.Hello(
            capabilities=[CAPABILITY], run_id=self.run_id, policy_key_ids=self.keeper.key_ids, device_id=DEVICE
        )
        if self.keeper.held is not None:
            hello.revision, hello.document_sha256 = self.keeper.held.revision, self.keeper.held.sha256
        conversation = Conversation(
            DEVICE,
            f"stream-{next(self.numbers)}",
            book=self.book,
            deliveries=self.kept,
            new_nonce=lambda: b"nonce-%d" % next(self.numbers),
            keys=self.speaker().keys,
        )
        assert now_of(conversation.begin(hello_from_proto(hello), self.server_time)) is False
        self.lines.append(Line(conversation))
        self.agree()

    @rule(of=st.integers(-3, 3), back=st.integers(1, 3))
    def hear(self, of: int, back: int) -> None:
        """Let the device hear one of the last messages of a stream, perhaps for the second time."""
        if self.lines and (line := self.lines[of % len(self.lines)]).said:
            response = line.said[-min(back, len(line.said))]
            if (answer := self.take(response)) is not None:
                line.answers.append(answer)

    @precondition(lambda self: self.past)
    @rule(of=st.integers(0, 10**6))
    def replay(self, of: int) -> None:
        """Let the device hear anything that was ever said, on a stream of an attacker's who answers for nobody."""
        self.take(self.past[-1 - of % len(self.past)])

    @precondition(lambda self: self.past)
    @rule(of=st.integers(0, 10**6), at=st.integers(0, 10**6), flipped=st.integers(1, 255))
    def damage(self, of: int, at: int, flipped: int) -> None:
        """Let the device hear a message in which one byte is another: it is never applied."""
        response = agent_pb2.StreamPolicyResponse()
        response.CopyFrom(self.past[of % len(self.past)])
        signed = (response.offer if response.HasField("offer") else response.up_to_date).signed_manifest
        content = bytearray(signed.manifest)
        content[at % len(content)] ^= flipped
        signed.manifest = bytes(content)
        before, keys = self.keeper.held, self.keeper.key_ids
        answer = self.take(response)
        assert answer is None or answer.HasField("nack")
        assert (self.keeper.held, self.keeper.key_ids) == (before, keys)

    @rule(of=st.integers(-3, 3))
    def answer(self, of: int) -> None:
        """Let the server hear the next answer of a stream. An answer to nothing that it offered ends the stream."""
        if not self.lines or not (line := self.lines[of % len(self.lines)]).answers:
            return
        request = line.answers.pop(0)
        before = self.kept.delivery
        newest = line.conversation.stream == before.stream
        try:
            if request.HasField("nack"):
                nack = request.nack
                reasons, temporary = tuple(nack.reasons), nack.temporary
                now_of(
                    line.conversation.refuse(
                        nack.nonce, reasons, self.server_time, revision=nack.revision, temporary=temporary
                    )
                )
                if newest:
                    self.refused = b"" if temporary else before.sha256
                    self.put_off = self.server_time if temporary else None
                return
            now_of(line.conversation.acknowledge(request.ack.nonce, request.ack.revision, self.server_time))
        except InvalidError:
            self.lines.remove(line)
        else:
            if newest:
                assert self.kept.delivery.applied_revision == request.ack.revision
                self.agree()
            else:
                assert self.kept.delivery == before

    @rule(of=st.integers(-3, 3))
    def break_off(self, of: int) -> None:
        """End a stream without a word."""
        if self.lines:
            line = self.lines.pop(of % len(self.lines))
            now_of(line.conversation.end(self.server_time))

    @rule(picky=st.booleans())
    def restart_agent(self, *, picky: bool = False) -> None:
        """Start another run, perhaps of a version that cannot read everything."""
        self.picky = picky
        self.refused, self.put_off = b"", None
        self.run_id = f"run-{next(self.numbers)}"
        self.lines.clear()
        before = self.keeper.held
        self.keeper = PolicyKeeper(self.folder, identity_store.load_identity(self.folder))
        assert self.keeper.load() == []
        assert identity_of(self.keeper.held) == identity_of(before)

    @precondition(lambda self: self.unused)
    @rule(contents=CONTENTS, talks=st.integers(0, 2))
    def rotate(self, contents: tuple[Authored, ...] | None, talks: int) -> None:
        """Make a new key; the server starts anew, and perhaps the device hears of it."""
        self.signing.insert(0, self.unused.pop())
        self.start_server(contents, talks)

    @precondition(lambda self: len(self.signing) > 1 and not self.away())
    @rule(contents=CONTENTS, talks=st.integers(0, 2))
    def retire(self, contents: tuple[Authored, ...] | None, talks: int) -> None:
        """Retire the oldest key, as the runbook says: once the device knows a newer one."""
        self.gone.add(told(self.signing.pop())[0])
        self.start_server(contents, talks)

    def start_server(self, contents: tuple[Authored, ...] | None, talks: int) -> None:
        self.lines.clear()
        for _ in range(talks):
            self.lines.clear()
            self.converse(contents, 2)
        for response in self.past[-ATTACK:]:
            self.take(response)
        self.restart_agent()

    @rule(step=PASSES)
    def pass_time(self, step: timedelta) -> None:
        self.server_time += step
        self.device_time += step

    @rule(step=JUMPS, sign=st.sampled_from([1, -1]), server=st.booleans())
    def jump(self, step: timedelta, sign: int, *, server: bool) -> None:
        """Let one of the clocks jump, and at the next time back."""
        if self.server_time != self.device_time:
            self.server_time = self.device_time = max(self.server_time, self.device_time)
        elif server:
            self.server_time += step * sign
        else:
            self.device_time += step * sign

    @invariant()
    def never_goes_back(self) -> None:
        if hasattr(self, "keeper") and (held := self.keeper.held) is not None:
            assert held.revision >= self.highest
            self.highest = held.revision

    @invariant()
    def a_device_always_knows_a_key_that_signs(self) -> None:
        if hasattr(self, "keeper"):
            assert {told(key)[0] for key in self.signing} & set(self.keeper.key_ids)

    def speaker(self) -> Speaker:
        return Speaker(self.signing, tenant=TENANT)

    def away(self) -> bool:
        """Tell whether the device would be locked out if the oldest key went."""
        return not {told(key)[0] for key in self.signing[:-1]} & set(self.keeper.key_ids)

    def take(self, response: agent_pb2.StreamPolicyResponse) -> agent_pb2.StreamPolicyRequest | None:
        """Do what the agent does with a message; whatever is refused leaves everything as it was."""
        before, keys = self.keeper.held, set(self.keeper.key_ids)
        try:
            if response.HasField("up_to_date"):
                self.keeper.confirm(response.up_to_date.signed_manifest, self.device_time)
                return None
            revision = self.apply(response.offer)
        except PolicyRefusedError as error:
            assert self.keeper.held is before
            assert set(self.keeper.key_ids) == keys
            if response.HasField("up_to_date"):
                return None
            nack = agent_pb2.Nack(nonce=response.offer.nonce, reasons=error.reasons, temporary=error.passes)
            return agent_pb2.StreamPolicyRequest(nack=nack)
        finally:
            assert not (set(self.keeper.key_ids) - keys) & self.gone
        return agent_pb2.StreamPolicyRequest(ack=agent_pb2.Ack(nonce=response.offer.nonce, revision=revision))

    def apply(self, offer: agent_pb2.Offer) -> int:
        if self.picky and BAD in offer.document:
            raise PolicyRefusedError(["the agent is too old for this"])
        return self.keeper.apply(offer, self.device_time)

    def judge(self, before: Delivery, saying: Saying | None) -> None:
        """Say whether what is said to the device may be, after what it refused."""
        after = self.kept.delivery
        if isinstance(saying, Offer):
            assert saying.manifest.sha256 != self.refused  # refused for good by this run
            self.refused = b""
        if before.state is DeliveryState.REJECTED and self.put_off is not None:
            waits = timedelta() <= self.server_time - self.put_off < SHORTEST_WAIT
            if not waits:
                assert isinstance(saying, Offer)
                assert after.revision > before.revision
            elif after.sha256 == before.sha256:
                assert saying is None
                assert after.revision == before.revision

    def agree(self) -> None:
        """Compare what the server believes to be in force with what is."""
        delivery, held = self.kept.delivery, self.keeper.held
        assert delivery.applied_revision == (held.revision if held else 0)
        if delivery.state is DeliveryState.APPLIED:
            assert held is not None
            assert held.sha256 == delivery.sha256


def identity_of(held: Held | None) -> object:
    return held and replace(held, policy=None, key_id="")  # type: ignore[arg-type]


TestStreams = Streams.TestCase
TestStreams.settings = hypothesis_settings(max_examples=100, stateful_step_count=40, deadline=None)
