"""Attempts of any kind on any day, and questions about them, drawn by a die: by chance, or by what hypothesis makes of one."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import reports_pb2
from tests.fakes.reporting import completed, decided

START = datetime(2026, 9, 20, tzinfo=UTC)
DAYS = 64
USERS = ("alice", "bob", "Bob", "ALICE", "zoë", "ⅷ", "dom\\carol", "o'hara", "%", "d_ve")
DEVICES = ("d1", "d2", "d3", "d4", "d5", "d6")
TAGS = {"d1": {"emea"}, "d2": {"emea", "apac"}, "d3": {"apac"}, "d4": {"default"}, "d5": {"Ünïcode"}, "d6": {"default"}}
SEEN = (None, None, {"emea"}, {"apac", "emea"}, {"nothing"}, {"Ünïcode", "default"})
HOMES = {
    "d1": ("alice", "bob"),
    "d2": ("bob", "Bob"),
    "d3": ("Bob", "ALICE"),
    "d4": ("zoë", "ⅷ"),
    "d5": ("ⅷ", "dom\\carol"),
    "d6": ("o'hara", "%", "d_ve"),
}
"""Users of devices: some are on one alone, some on others too, among them devices with other tags."""
POLICIES, RULES = ("tools", "Tools", "office"), ("setup", "updater", "café")
TYPES = tuple(rules_pb2.ElevationType.values())
_FILES = [
    {"path": path, "version": version, "company_name": company, "publisher": publisher, "sha256": digest}
    for path, digest in (
        ("C:\\Setup\\setup.exe", "a" * 64),
        ("C:\\Other\\setup.exe", "a" * 64),
        ("D:/games/Game.exe", "B" * 64),
        ("C:\\x\\näïve.msi", ""),
        ("noname", "c" * 64),
        ("C:\\trailing\\", ""),
    )
    for version in ("1.0", "1.10", "")
    for company, publisher in (("Example", "CN=Example, O=Example"), ("Example", ""), ("", ""), ("", "CN=Ö"))
]
_MANAGED = (
    (event_pb2.OUTCOME_ELEVATE, event_pb2.SOURCE_RULE, event_pb2.ATTEMPT_RESULT_ELEVATED),
    (event_pb2.OUTCOME_PROMPT, event_pb2.SOURCE_RULE, event_pb2.ATTEMPT_RESULT_CANCELLED),
    (event_pb2.OUTCOME_DENY, event_pb2.SOURCE_RULE, event_pb2.ATTEMPT_RESULT_DENIED),
    (event_pb2.OUTCOME_DENY, event_pb2.SOURCE_DEFAULT_RESPONSE, event_pb2.ATTEMPT_RESULT_DENIED),
    (event_pb2.OUTCOME_ELEVATE, event_pb2.SOURCE_GRANT, event_pb2.ATTEMPT_RESULT_ELEVATED),
    (event_pb2.OUTCOME_REQUEST_APPROVAL, event_pb2.SOURCE_STALE, event_pb2.ATTEMPT_RESULT_APPROVAL_REQUIRED),
)
_UNMANAGED = (event_pb2.SOURCE_ADMINISTRATOR, event_pb2.SOURCE_NO_RULE, event_pb2.SOURCE_NOT_ACTIVE)


def an_attempt(
    number: int, die: random.Random, days: int = DAYS, users: Sequence[str] = USERS
) -> event_pb2.ElevationEvent:
    """Draw an attempt of the first of the days, often at the edge of one."""
    edge = die.choice((0, 0, 1, -1)) * timedelta(microseconds=1)
    within = edge if die.random() < 0.2 else timedelta(microseconds=die.randrange(86_400_000_000))
    values: dict[str, Any] = {"user": die.choice(users), "administrator": die.random() < 0.3}
    if die.random() < 0.6:
        outcome, source, result = die.choice(_MANAGED)
        by_rule = source == event_pb2.SOURCE_RULE
        values |= {"outcome": outcome, "source": source, "result": result, "elevation_type": die.choice(TYPES)}
        values |= {"policy": die.choice(POLICIES) if by_rule else "", "rule": die.choice(RULES) if by_rule else ""}
    else:
        values |= {"outcome": event_pb2.OUTCOME_NOT_MANAGED, "result": event_pb2.ATTEMPT_RESULT_NOT_MANAGED}
        values |= {"source": die.choice(_UNMANAGED), "managed": False, "elevation_type": 0, "policy": "", "rule": ""}
    file = {**die.choice(_FILES), "internal_name": die.choice(("", "setup"))}
    return decided(number, at=START + timedelta(days=die.randrange(days)) + within, file=file, **values)


def an_event(
    number: int, die: random.Random, days: int = DAYS, users: Sequence[str] = USERS
) -> event_pb2.ElevationEvent:
    """Draw an event: mostly an attempt, now and then how one ended."""
    if number > 1 and die.random() < 0.1:
        return completed(number, f"attempt-{die.randrange(1, number)}", at=START)
    return an_attempt(number, die, days, users)


def device_name(device_id: str, number: int) -> str:
    """Name a device as it is called when its event of this number comes in: one is renamed on the way."""
    return f"{device_id}-renamed" if device_id == "d2" and number % 4 == 0 else f"name-of-{device_id}"


def a_whole_filter(die: random.Random) -> reports_pb2.ElevationFilter:
    """Draw a filter over whole days, of what counts can tell when events are gone."""
    found = a_filter(die)
    found.ClearField("attempt_ids")
    for name in ("occurred_from", "occurred_before"):
        if found.HasField(name):
            stamp = getattr(found, name)
            stamp.FromSeconds(stamp.seconds // 86_400 * 86_400)
    if found.HasField("occurred_from") and found.occurred_from == found.occurred_before:
        found.ClearField("occurred_before")
    return found


def a_time(die: random.Random) -> datetime:
    """Draw a moment: midnight, mostly."""
    midnight = START + timedelta(days=die.randrange(-3, DAYS + 3))
    return midnight if die.random() < 0.7 else midnight + timedelta(microseconds=die.randrange(86_400_000_000))


def a_filter(die: random.Random, *, managed: bool = True) -> reports_pb2.ElevationFilter:
    """Draw a filter with few fields; `managed` says whether that field may be among them."""
    found = reports_pb2.ElevationFilter()
    start, end = sorted((a_time(die), a_time(die)))
    if die.random() < 0.5:
        found.occurred_from.FromDatetime(start)
    if die.random() < 0.5 and start < end:
        found.occurred_before.FromDatetime(end)
    for field, values in _CHOICES.items():
        if die.random() < 0.12:
            getattr(found, field).extend(die.sample(values, die.randint(1, min(3, len(values)))))
    if die.random() < 0.1:
        found.governed_by_rule = True
    if managed and die.random() < 0.2:
        found.managed = die.random() < 0.5
    if die.random() < 0.15:
        found.administrator = die.random() < 0.5
    if die.random() < 0.1:
        found.attempt_ids.extend(some_attempts(die, 40))
    return found


def some_attempts(die: random.Random, most: int) -> list[str]:
    """Draw identifiers of so many of twice as many attempts, of which there may be fewer."""
    return [f"attempt-{number}" for number in die.sample(range(2 * most), most)]


_CHOICES: dict[str, tuple[Any, ...]] = {
    "elevation_types": TYPES,
    "results": tuple(event_pb2.AttemptResult.values())[1:],
    "sources": tuple(event_pb2.Source.values())[1:],
    "users": (*USERS, "nobody"),
    "devices": ("name-of-d1", "name-of-d2", "d2-renamed", "name-of-d5"),
    "device_ids": DEVICES,
    "policies": (*POLICIES, ""),
    "rules": (*RULES, ""),
    "publishers": ("Example", "CN=Example, O=Example", "CN=Ö", ""),
    "sha256s": ("a" * 64, "B" * 64, "c" * 64, ""),
    "file_names": ("setup.exe", "Game.exe", "näïve.msi", "noname", ""),
    "internal_names": ("", "setup"),
    "versions": ("1.0", "1.10", ""),
    "company_names": ("Example", ""),
}
