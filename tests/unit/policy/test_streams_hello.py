"""Devices that open a stream and say nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from epm.policy.v1 import agent_pb2
from services._chassis.errors import InvalidError
from services.policy.streams.stream import PolicyStream
from services.policy.usecases.delivery import Conversation
from tests.builders.policy_streams import World


async def test_a_device_that_never_says_hello_holds_no_stream() -> None:
    async def silence() -> AsyncIterator[agent_pb2.StreamPolicyRequest]:
        await asyncio.Event().wait()
        yield agent_pb2.StreamPolicyRequest()

    world = World()
    stream = PolicyStream(
        Conversation(
            "d1", "stream-1", book=world.book, deliveries=world.writer, new_nonce=lambda: b"", keys=world.speaker.keys
        ),
        world.manners,
    )
    with pytest.raises(InvalidError, match="must be the first message"):
        await stream.hear(silence(), patience=0)
