"""Which agents send how much, and the bytes that they send: making events is not what is measured."""

from dataclasses import dataclass

import uuid_utils

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import agent_pb2
from services._chassis.clock import SystemClock
from tests.fakes.reporting import decided, message


@dataclass(frozen=True, slots=True)
class Load:
    """Say how many agents send what: each has at most `window` batches unacknowledged."""

    name: str
    streams: int
    batch: int
    window: int
    events: int

    @property
    def group(self) -> int:
        """Return how many events can wait for a commit at once."""
        return self.streams * self.window * self.batch


Journal = tuple[bytes, ...]
"""The batches of one agent as bytes, each as large as the load says."""


def an_event(number: int) -> event_pb2.ElevationEvent:
    """Make event `number`: some hundred users and applications, as a fleet would report them."""
    tool = number % 211
    facts = {
        "path": f"C:\\Program Files\\Tool {tool}\\tool-{tool}.exe",
        "sha256": f"{tool:064x}",
        "product_name": f"Tool {tool}",
        "publisher": f"CN=Example {tool % 17}",
    }
    told = {"user": f"user-{number % 307}@example.com", "arguments": ["/silent"], "rule": f"tool-{tool}"}
    attempt_id, reason = str(uuid_utils.uuid7()), "the rule elevates the file without a prompt"
    return decided(number, at=SystemClock().now(), attempt=attempt_id, file=facts, reason=reason, **told)


def journals(load: Load) -> list[Journal]:
    """Make the journals of the agents; every round has new events.

    They happen to all agents at the same time, as in a fleet: the identifiers of what is sent together lie close together.
    """
    made: list[list[bytes]] = [[] for _ in range(load.streams)]
    for turn in range(load.events // load.streams // load.batch):
        for agent, journal in enumerate(made):
            first = (turn * load.streams + agent) * load.batch
            events = [an_event(first + number) for number in range(load.batch)]
            batch = message(events, first=turn * load.batch + 1)
            journal.append(agent_pb2.StreamEventsRequest(batch=batch).SerializeToString())
    return list(map(tuple, made))
