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
    """Make the journals of the agents; every round has new events."""
    each = load.events // load.streams
    made = []
    for agent in range(load.streams):
        events = [an_event(agent * each + number) for number in range(each)]
        batches = [message(events[start : start + load.batch], first=start + 1) for start in range(0, each, load.batch)]
        made.append(tuple(agent_pb2.StreamEventsRequest(batch=batch).SerializeToString() for batch in batches))
    return made
