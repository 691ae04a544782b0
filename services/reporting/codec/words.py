"""How the contract's numbers, times and paths are told in the words of the model."""

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from epm.elevation.v1 import event_pb2, rules_pb2
from services.reporting.model.events import LARGEST_NUMBER

NANOS = 1_000_000_000


def words(enum: Sequence[tuple[str, int]], prefix: str) -> dict[int, str]:
    """Return the words of a contract's enum by number, without the one that stands for nothing."""
    return {number: name.removeprefix(prefix) for name, number in enum if number}


TRIGGERS = words(event_pb2.Trigger.items(), "TRIGGER_")
OUTCOMES = words(event_pb2.Outcome.items(), "OUTCOME_")
SOURCES = words(event_pb2.Source.items(), "SOURCE_")
RESULTS = words(event_pb2.AttemptResult.items(), "ATTEMPT_RESULT_")
LOSSES = words(event_pb2.LostAt.items(), "LOST_AT_")
PLATFORMS = words(rules_pb2.Platform.items(), "PLATFORM_")
ELEVATION_TYPES = {0: "", **words(rules_pb2.ElevationType.items(), "ELEVATION_TYPE_")}


def file_name(path: str, platform: int) -> str:
    """Return the last part of a path in the platform's spelling."""
    start = path.rfind("/")
    if platform == rules_pb2.PLATFORM_WINDOWS:
        start = max(start, path.rfind("\\"))
    return path[start + 1 :]


def time_of(stamp: Timestamp) -> int | None:
    """Return a timestamp as microseconds since 1970; None if it is none that the contract allows."""
    if not 0 <= stamp.nanos < NANOS or abs(stamp.seconds) > LARGEST_NUMBER // 1_000_000:
        return None
    return stamp.seconds * 1_000_000 + stamp.nanos // 1000
