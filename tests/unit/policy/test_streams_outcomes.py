"""A device hears on its policy stream what became of its requests, and of nothing twice once it keeps it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from epm.policy.v1 import agent_pb2
from services.policy.model.told_requests import Outcome
from services.policy.usecases.delivery import CAPABILITY
from services.policy.usecases.requests.post import CAPABILITY as OUTCOMES
from services.policy.usecases.requests.post import Post
from tests.builders.doors import open_doors
from tests.builders.policy_streams import Stream, World
from tests.builders.requests import request
from tests.fakes.requests import FakeOutcomes

BOTH = (CAPABILITY, OUTCOMES)


class Mailed(World):
    """A process with something to tell."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes = FakeOutcomes()
        self.post = Post(self.outcomes, wait=self._wait, caught_up=self._caught_up)
        self.post.on_news.append(self.streams.look)
        self.manners = replace(self.manners, mail=self.post)

    async def happen(self, *sequences: int) -> None:
        """Let requests of d1 come to something, and read it as the worker does."""
        self.outcomes.add("d1", *(Outcome(number, request(number)) for number in sequences))
        await self.post.read()

    async def _wait(self, after: int) -> int:
        return after

    async def _caught_up(self, _revision: int) -> None:
        """Be there already."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Mailed]:
    made = Mailed()
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made


async def outcome(stream: Stream) -> int:
    """Return the number of the next message, which must be an outcome."""
    response = await stream.read()
    assert response.WhichOneof("message") == "outcome", response
    assert response.outcome.request.id == request(response.outcome.sequence).request_id
    return response.outcome.sequence


async def keep(stream: Stream, sequence: int) -> None:
    kept = agent_pb2.OutcomesKept(sequence=sequence)
    await stream.say(agent_pb2.StreamPolicyRequest(outcomes_kept=kept))


async def test_what_waits_is_told_after_the_document_and_news_at_once(world: Mailed) -> None:
    await world.happen(1, 2)
    async with world.stream() as stream:
        await stream.hello(capabilities=BOTH)
        await stream.apply()
        assert [await outcome(stream), await outcome(stream)] == [1, 2]
        await world.happen(3)
        assert await outcome(stream) == 3


async def test_what_is_not_kept_is_told_again_on_the_next_stream(world: Mailed) -> None:
    await world.happen(1, 2)
    async with world.stream() as stream:
        await stream.hello(capabilities=BOTH)
        held = await stream.apply()
        assert [await outcome(stream), await outcome(stream)] == [1, 2]
        await keep(stream, 1)
        await world.happen(3)
        assert await outcome(stream) == 3
    async with world.stream() as again:
        await again.hello(held, capabilities=BOTH)
        await again.confirmed()
        assert [await outcome(again), await outcome(again)] == [2, 3]


async def test_a_number_that_was_not_told_on_this_stream_confirms_nothing(world: Mailed) -> None:
    async with world.stream() as stream:
        await stream.hello(capabilities=BOTH)
        await stream.apply()
        await keep(stream, 9)
        world.publish()
        await stream.apply()
        await world.heard(stream)  # what was said before it, too
        assert world.outcomes.confirmed.empty()
        await world.happen(1)
        assert await outcome(stream) == 1
        await keep(stream, 9)
        assert await world.outcomes.confirmed.get() == 1
        await world.happen(2, 3)
        assert [await outcome(stream), await outcome(stream)] == [2, 3]
    assert [each.sequence for each in world.outcomes.kept["d1"]] == [2, 3]


async def test_a_device_that_does_not_understand_outcomes_is_told_nothing(world: Mailed) -> None:
    await world.happen(1)
    async with world.stream() as stream:
        await stream.hello()
        await stream.apply()
        world.publish()
        await stream.apply()
    assert world.outcomes.asked == []
